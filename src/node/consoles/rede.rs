//! The console of seed 002: `peers`, `ls`, `get` and `quit`, and two tables. It joins at its start if it was told where to listen and what to share;
//! otherwise it asks and downloads as a guest.

use std::net::{IpAddr, SocketAddr};

use comfy_table::{Table, presets};

use crate::message::relative::RelativeName;
use crate::node::consoles::{beside, unknown, unquoted, word, words};
use crate::node::lines::{self, Lang, Said};
use crate::node::peer::acts::Act;
use crate::node::peer::desk::{Command, Step};
use crate::node::report::{Failure, Report};

/// What Tab completes.
pub const COMMANDS: [&str; 4] = ["peers", "ls", "get", "quit"];

const HELP: &str = "\
peers             todos os peers conectados na rede
ls IP PORTA       os arquivos que um peer compartilha
get IP ARQUIVO    baixa um arquivo de um peer
quit              encerra a conexão";

/// What a line means.
pub(super) fn line(line: &str) -> Step {
    let (verb, rest) = word(line);
    let step = match (verb.to_lowercase().as_str(), &words(rest)[..]) {
        ("", _) => return Step::Nothing,
        ("peers", []) => Ok(Command::Act(Act::Peers)),
        ("peers", _) => Err(Failure::Usage("peers")),
        ("ls", [ip, port]) => address(ip, port).map(|at| Command::Act(Act::Files(at))),
        ("ls", [at]) => at.parse().map(|at| Command::Act(Act::Files(at))).map_err(|_| Failure::Usage("ls IP PORTA")),
        ("ls", _) => Err(Failure::Usage("ls IP PORTA")),
        ("get", [ip, _, ..]) => get(ip, unquoted(word(rest).1)),
        ("get", _) => Err(Failure::Usage("get IP ARQUIVO")),
        ("quit" | "exit", []) => Ok(Command::Quit),
        ("quit" | "exit", _) => Err(Failure::Usage("quit")),
        ("help" | "?", _) => Ok(Command::Help),
        _ => return unknown(line, verb),
    };
    step.map_or_else(Step::Wrong, Step::Do)
}

fn ip(text: &str) -> Result<IpAddr, Failure> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::from([127, 0, 0, 1]));
    }
    text.trim_matches(['[', ']']).parse().map_err(|_| Failure::Wrong("IP"))
}

fn address(host: &str, port: &str) -> Result<SocketAddr, Failure> {
    let port = port.parse().ok().filter(|port| *port != 0).ok_or(Failure::Wrong("1..65535"))?;
    Ok(SocketAddr::new(ip(host)?, port))
}

fn get(host: &str, name: &str) -> Result<Command, Failure> {
    let ip = ip(host)?;
    let name = RelativeName::new(name).map_err(|why| Failure::Name(name.to_owned(), why))?;
    Ok(Command::Act(Act::GetAt { ip, name }))
}

/// A report in words.
pub(super) fn say(report: &Report, lang: Lang) -> Said {
    match report {
        Report::Peers(peers) => {
            let rows = peers.iter().map(|present| vec![present.peer.ip().to_string(), present.peer.port().to_string()]);
            Said::Line(table(&["Endereço IP", "Porta"], rows))
        }
        Report::Files { files, .. } => Said::Line(table(&["Arquivos compartilhados"], files.iter().map(|file| vec![file.name.to_string()]))),
        Report::Saved { .. } => lines::say(report, lang),
        Report::Help => Said::Note(HELP.to_owned()),
        _ => beside(report, lang),
    }
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    // Plain characters: a script may read it, and any terminal can show it.
    table.load_style(presets::ASCII_FULL_CONDENSED).set_header(head.to_vec()).add_rows(rows);
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::reply::Present;
    use crate::message::request::FileEntry;
    use crate::message::tongue::Tongue;

    fn file(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    #[test]
    fn its_four_commands_are_understood_in_any_case() {
        let at: SocketAddr = "127.0.0.1:5455".parse().unwrap();
        let get = |name: &str| Command::Act(Act::GetAt { ip: at.ip(), name: file(name) });
        for (typed, command) in [
            ("peers", Command::Act(Act::Peers)),
            (" PEERS ", Command::Act(Act::Peers)),
            ("ls 127.0.0.1 5455", Command::Act(Act::Files(at))),
            ("ls 127.0.0.1:5455", Command::Act(Act::Files(at))),
            ("ls localhost 5455", Command::Act(Act::Files(at))),
            ("get 127.0.0.1 a.txt", get("a.txt")),
            ("get 127.0.0.1 aula 1.mp4", get("aula 1.mp4")),
            ("Get 127.0.0.1 \"aula 1.mp4\"", get("aula 1.mp4")),
            ("quit", Command::Quit),
            ("help", Command::Help),
        ] {
            assert_eq!(line(typed), Step::Do(command), "{typed}");
        }
        for (typed, failure) in [
            ("peers all", Failure::Usage("peers")),
            ("ls", Failure::Usage("ls IP PORTA")),
            ("ls here 1", Failure::Wrong("IP")),
            ("ls 127.0.0.1 0", Failure::Wrong("1..65535")),
            ("get 127.0.0.1", Failure::Usage("get IP ARQUIVO")),
            ("get here a.txt", Failure::Wrong("IP")),
            ("quit now", Failure::Usage("quit")),
        ] {
            assert_eq!(line(typed), Step::Wrong(failure), "{typed}");
        }
        assert!(matches!(line("get 127.0.0.1 ../x"), Step::Wrong(Failure::Name(..))));
    }

    #[test]
    fn answers_are_tables_and_all_else_is_a_note() {
        let present = |at: &str, speaks| Present { peer: at.parse().unwrap(), files: 1, user: None, speaks };
        let peers = Report::Peers(vec![present("127.0.0.1:5455", None), present("127.0.0.2:5456", Some(Tongue::Rede))]);
        let table = "\
+-------------+-------+
| Endereço IP | Porta |
+=====================+
| 127.0.0.1   | 5455  |
| 127.0.0.2   | 5456  |
+-------------+-------+";
        assert_eq!(say(&peers, Lang::Pt), Said::Line(table.into()));
        let files = Report::Files {
            peer: "127.0.0.1:5455".parse().unwrap(),
            files: vec![FileEntry::new(file("a.txt"), 1), FileEntry::new(file("ab.txt"), 2)],
        };
        let table = "\
+-------------------------+
| Arquivos compartilhados |
+=========================+
| a.txt                   |
| ab.txt                  |
+-------------------------+";
        assert_eq!(say(&files, Lang::Pt), Said::Line(table.into()));
        assert_eq!(say(&Report::Failed(Failure::Usage("quit")), Lang::Pt), Said::Note("uso: quit".into()));
        let me = Report::IAm { me: "127.0.0.1:5455".parse().unwrap(), names: " a.txt".into() };
        assert_eq!(say(&me, Lang::Pt), Said::Note("Sou peer 127.0.0.1:5455 com arquivos a.txt".into()));
    }
}
