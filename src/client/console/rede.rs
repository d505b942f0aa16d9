//! The console of rede-p2p: `peers`, `ls`, `get` and `quit`, and two tables. With an address and a folder the process
//! joins at once; otherwise the console searches and downloads as a guest.

use std::net::{IpAddr, SocketAddr};

use comfy_table::{Table, presets};

use crate::client::command::{Command, MultiStep};
use crate::client::console::{beside, unknown};
use crate::client::parser::ParsedLine;
use crate::client::words::{unquoted, word, words};
use crate::protocol::types::relative_path::RelativeName;
use crate::ui::event::{Failure, UiEvent};
use crate::ui::lang::Lang;
use crate::ui::text::{self, Output};

/// Commands for Tab completion.
pub const COMMANDS: [&str; 4] = ["peers", "ls", "get", "quit"];

const HELP: &str = "\
peers             todos os peers conectados na rede
ls IP [PORTA]     os arquivos que um peer compartilha
get IP ARQUIVO    baixa um arquivo de um peer
quit              encerra a conexão";

/// Parses a line.
pub(super) fn line(line: &str) -> ParsedLine {
    let (verb, rest) = word(line);
    let step = match (verb.to_lowercase().as_str(), &words(rest)[..]) {
        ("", _) => return ParsedLine::Nothing,
        ("peers", []) => Ok(Command::Act(MultiStep::Peers)),
        ("peers", _) => Err(Failure::Usage("peers")),
        ("ls", [ip, port]) => address(ip, port).map(|at| Command::Act(MultiStep::Files(at))),
        ("ls", [at]) => match at.parse() {
            Ok(at) => Ok(Command::Act(MultiStep::Files(at))),
            Err(_) => ip(at)
                .map(|ip| Command::Act(MultiStep::FilesAt(ip)))
                .map_err(|_| Failure::Usage("ls IP [PORTA]")),
        },
        ("ls", _) => Err(Failure::Usage("ls IP [PORTA]")),
        ("get", [ip, _, ..]) => get(ip, unquoted(word(rest).1)),
        ("get", _) => Err(Failure::Usage("get IP ARQUIVO")),
        ("quit" | "exit", []) => Ok(Command::Quit),
        ("quit" | "exit", _) => Err(Failure::Usage("quit")),
        ("help" | "?", _) => Ok(Command::Help),
        _ => return unknown(line, verb),
    };
    step.map_or_else(ParsedLine::Wrong, ParsedLine::Do)
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
    Ok(Command::Act(MultiStep::GetAt { ip, name }))
}

/// Formats an event.
pub(super) fn say(event: &UiEvent, lang: Lang) -> Output {
    match event {
        UiEvent::Peers(peers) => {
            let rows = peers
                .iter()
                .map(|entry| vec![entry.peer.ip().to_string(), entry.peer.port().to_string()]);
            Output::Line(table(&["Endereço IP", "Porta"], rows))
        }
        UiEvent::Files { files, .. } => Output::Line(table(
            &["Arquivos compartilhados"],
            files.iter().map(|file| vec![file.name.to_string()]),
        )),
        UiEvent::Saved { .. } => text::say(event, lang),
        UiEvent::Help => Output::Note(HELP.to_owned()),
        _ => beside(event, lang),
    }
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    // ASCII: scripts read the table, and any terminal shows it.
    table.load_style(presets::ASCII_FULL_CONDENSED).set_header(head.to_vec()).add_rows(rows);
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::FileEntry;
    use crate::protocol::response::PeerEntry;
    use crate::protocol::types::legacy_profile::LegacyProfile;
    use crate::ui::event::NameLine;

    fn file(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    #[test]
    fn commands_are_parsed_in_any_case() {
        let at: SocketAddr = "127.0.0.1:5455".parse().unwrap();
        let get = |name: &str| Command::Act(MultiStep::GetAt { ip: at.ip(), name: file(name) });
        for (typed, command) in [
            ("peers", Command::Act(MultiStep::Peers)),
            (" PEERS ", Command::Act(MultiStep::Peers)),
            ("ls 127.0.0.1 5455", Command::Act(MultiStep::Files(at))),
            ("ls 127.0.0.1:5455", Command::Act(MultiStep::Files(at))),
            ("ls 127.0.0.1", Command::Act(MultiStep::FilesAt(at.ip()))),
            ("LS localhost", Command::Act(MultiStep::FilesAt(at.ip()))),
            ("ls localhost 5455", Command::Act(MultiStep::Files(at))),
            ("get 127.0.0.1 a.txt", get("a.txt")),
            ("get 127.0.0.1 aula 1.mp4", get("aula 1.mp4")),
            ("Get 127.0.0.1 \"aula 1.mp4\"", get("aula 1.mp4")),
            ("quit", Command::Quit),
            ("help", Command::Help),
        ] {
            assert_eq!(line(typed), ParsedLine::Do(command), "{typed}");
        }
        for (typed, failure) in [
            ("peers all", Failure::Usage("peers")),
            ("ls", Failure::Usage("ls IP [PORTA]")),
            ("ls here 1", Failure::Wrong("IP")),
            ("ls 127.0.0.1 0", Failure::Wrong("1..65535")),
            ("get 127.0.0.1", Failure::Usage("get IP ARQUIVO")),
            ("get here a.txt", Failure::Wrong("IP")),
            ("quit now", Failure::Usage("quit")),
        ] {
            assert_eq!(line(typed), ParsedLine::Wrong(failure), "{typed}");
        }
        assert!(matches!(line("get 127.0.0.1 ../x"), ParsedLine::Wrong(Failure::Name(..))));
    }

    #[test]
    fn answers_are_tables_and_other_events_are_notes() {
        let present = |at: &str, speaks| PeerEntry {
            peer: at.parse().unwrap(),
            files: 1,
            user: None,
            speaks,
        };
        let peers = UiEvent::Peers(vec![
            present("127.0.0.1:5455", None),
            present("127.0.0.2:5456", Some(LegacyProfile::Rede)),
        ]);
        let table = "\
+-------------+-------+
| Endereço IP | Porta |
+=====================+
| 127.0.0.1   | 5455  |
| 127.0.0.2   | 5456  |
+-------------+-------+";
        assert_eq!(say(&peers, Lang::Pt), Output::Line(table.into()));
        let files = UiEvent::Files {
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
        assert_eq!(say(&files, Lang::Pt), Output::Line(table.into()));
        assert_eq!(
            say(&UiEvent::Failed(Failure::Usage("quit")), Lang::Pt),
            Output::Note("uso: quit".into())
        );
        let names = NameLine::of([&RelativeName::new("a.txt").unwrap()], true);
        let me = UiEvent::IAm { me: "127.0.0.1:5455".parse().unwrap(), names };
        assert_eq!(
            say(&me, Lang::Pt),
            Output::Note("Sou peer 127.0.0.1:5455 com arquivos a.txt".into())
        );
    }
}
