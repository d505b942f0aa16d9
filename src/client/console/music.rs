//! The console of music-udp: `REGISTRAR`, `CONSULTAR`, `REQUISITAR` and `ENCERRAR`, with the words of its index as
//! answers. A requested file is played from its first datagrams on, by the player port of `PLAY`.
//!
//! Arguments follow a blank or `|`, as on the wire. With an address and a folder on the command line the process
//! registers at once.

use std::net::SocketAddr;

use crate::client::command::{Command, DownloadTarget, MultiStep, PeerTarget, name};
use crate::client::console::{beside, unknown};
use crate::client::parser::ParsedLine;
use crate::protocol::error::ErrorCode;
use crate::ui::event::{Failure, UiEvent};
use crate::ui::lang::Lang;
use crate::ui::text::{self, Output};

/// Commands for Tab completion.
pub const COMMANDS: [&str; 5] = ["REGISTRAR", "CONSULTAR", "REQUISITAR", "ENCERRAR", "SAIR"];

/// The syntax of each command.
const USAGE: [&str; 5] =
    ["REGISTRAR IP:PORTA PASTA", "CONSULTAR", "REQUISITAR ARQUIVO [IP:PORTA]", "ENCERRAR", "SAIR"];

/// Parses a line.
pub(super) fn line(line: &str) -> ParsedLine {
    let line = line.trim();
    let (verb, rest) = part(line);
    let rest = rest.trim();
    let command = match (verb.to_uppercase().as_str(), rest) {
        ("", _) => return ParsedLine::Nothing,
        ("REGISTRAR", _) => register(rest),
        ("CONSULTAR", "") => Ok(Command::Act(MultiStep::Nodes)),
        ("REQUISITAR", name) if !name.is_empty() => request(name),
        // The own address may follow, as on the wire.
        ("ENCERRAR", _) => Ok(Command::Leave),
        ("SAIR" | "QUIT" | "EXIT", "") => Ok(Command::Quit),
        ("HELP" | "AJUDA" | "?", _) => Ok(Command::Help),
        (word, _) => match COMMANDS.iter().position(|command| *command == word) {
            Some(place) => Err(Failure::Usage(USAGE[place])),
            None => return unknown(line, verb),
        },
    };
    command.map_or_else(ParsedLine::Wrong, ParsedLine::Do)
}

/// The text up to the first blank or `|`, and the rest behind it.
fn part(text: &str) -> (&str, &str) {
    text.split_once(|c: char| c == '|' || c.is_whitespace()).unwrap_or((text, ""))
}

fn place(text: &str) -> Option<SocketAddr> {
    let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    local.as_deref().unwrap_or(text).parse().ok().filter(|at: &SocketAddr| at.port() != 0)
}

fn register(rest: &str) -> Result<Command, Failure> {
    let (at, folder) = part(rest);
    let folder = folder.trim();
    if folder.is_empty() {
        return Err(Failure::Usage(USAGE[0]));
    }
    let at = place(at).ok_or(Failure::Wrong("IP:PORTA"))?;
    Ok(Command::Join { at, folder: folder.to_owned() })
}

/// A name may have blanks: a last word that is an address names the peer.
fn request(rest: &str) -> Result<Command, Failure> {
    let target = |text: &str| name(text.trim()).map(DownloadTarget::named);
    if let Some((file, at)) = rest.rsplit_once(|c: char| c == '|' || c.is_whitespace())
        && let Some(from) = peer(at)
    {
        return Ok(Command::PlayFrom(target(file)?, from));
    }
    target(rest).map(Command::Play)
}

/// `IP:PORT`, or `PROTOCOL@IP:PORT`.
fn peer(text: &str) -> Option<PeerTarget> {
    place(text)
        .map(PeerTarget::from)
        .or_else(|| PeerTarget::read(text).filter(|it| it.at.port() != 0))
}

/// Formats an event.
pub(super) fn say(event: &UiEvent, lang: Lang) -> Output {
    match event {
        UiEvent::IAm { .. } => Output::Line("REGISTRO_SUCESSO".into()),
        UiEvent::AlreadyJoined(_) => Output::Line("CLIENTE_JA_REGISTRADO".into()),
        UiEvent::Left => Output::Line("CLIENTE_REMOVIDO".into()),
        UiEvent::Node { peer, files } => {
            let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
            Output::Line(format!("{}:{}", peer.peer, names.join(",")))
        }
        UiEvent::Failed(Failure::NotFound(_)) => missing(),
        UiEvent::Failed(Failure::Refused(error)) if error.code == ErrorCode::NotFound => missing(),
        UiEvent::Saved { .. } | UiEvent::Playing { .. } => text::say(event, lang),
        UiEvent::Help => Output::Note(USAGE.join("\n")),
        _ => beside(event, lang),
    }
}

fn missing() -> Output {
    Output::Line("ERRO: Arquivo não encontrado.".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::error::ErrorReply;
    use crate::protocol::request::FileEntry;
    use crate::protocol::response::PeerEntry;
    use crate::protocol::types::legacy_profile::LegacyProfile;
    use crate::protocol::types::relative_path::RelativeName;
    use crate::ui::event::NameLine;

    fn file(text: &str) -> DownloadTarget {
        DownloadTarget::named(RelativeName::new(text).unwrap())
    }

    #[test]
    fn commands_are_parsed_in_any_case_with_blanks_or_bars() {
        let at: SocketAddr = "127.0.0.1:5001".parse().unwrap();
        let join = |folder: &str| Command::Join { at, folder: folder.into() };
        let udp = PeerTarget { at, speaks: Some(LegacyProfile::MusicUdp) };
        for (typed, command) in [
            ("REGISTRAR 127.0.0.1:5001 musicas", join("musicas")),
            ("registrar|127.0.0.1:5001|minhas musicas", join("minhas musicas")),
            ("REGISTRAR localhost:5001 .", join(".")),
            ("CONSULTAR", Command::Act(MultiStep::Nodes)),
            ("REQUISITAR m1", Command::Play(file("m1"))),
            ("REQUISITAR|song 1.mp3", Command::Play(file("song 1.mp3"))),
            (
                "requisitar song 1.mp3 127.0.0.1:5001",
                Command::PlayFrom(file("song 1.mp3"), at.into()),
            ),
            ("REQUISITAR|m1|127.0.0.1:5001", Command::PlayFrom(file("m1"), at.into())),
            ("REQUISITAR m1 music-udp@127.0.0.1:5001", Command::PlayFrom(file("m1"), udp)),
            ("ENCERRAR", Command::Leave),
            ("ENCERRAR|127.0.0.1:5001", Command::Leave),
            (" sair ", Command::Quit),
            ("help", Command::Help),
        ] {
            assert_eq!(line(typed), ParsedLine::Do(command), "{typed}");
        }
        for (typed, usage) in [
            ("REGISTRAR", USAGE[0]),
            ("REGISTRAR 127.0.0.1:5001", USAGE[0]),
            ("CONSULTAR tudo", USAGE[1]),
            ("REQUISITAR", USAGE[2]),
            ("REQUISITAR|", USAGE[2]),
            ("SAIR agora", USAGE[4]),
        ] {
            assert_eq!(line(typed), ParsedLine::Wrong(Failure::Usage(usage)), "{typed}");
        }
        for typed in ["REGISTRAR 127.0.0.1:0 x", "REGISTRAR here x"] {
            assert_eq!(line(typed), ParsedLine::Wrong(Failure::Wrong("IP:PORTA")), "{typed}");
        }
        assert!(matches!(line("REQUISITAR ../m1"), ParsedLine::Wrong(Failure::Name(..))));
    }

    #[test]
    fn answers_are_the_words_of_the_index() {
        let peer =
            |at: &str| PeerEntry { peer: at.parse().unwrap(), files: 2, user: None, speaks: None };
        let names = ["song1.mp3", "m1"];
        let files = names.map(|text| FileEntry::new(RelativeName::new(text).unwrap(), 1)).to_vec();
        let at: SocketAddr = "127.0.0.1:5001".parse().unwrap();
        let none = RelativeName::new("none").unwrap();
        for (event, said) in [
            (UiEvent::IAm { me: at, names: NameLine::new(true) }, "REGISTRO_SUCESSO"),
            (UiEvent::AlreadyJoined(at), "CLIENTE_JA_REGISTRADO"),
            (UiEvent::Node { peer: peer("127.0.0.1:5001"), files }, "127.0.0.1:5001:song1.mp3,m1"),
            (UiEvent::Node { peer: peer("127.0.0.1:5002"), files: Vec::new() }, "127.0.0.1:5002:"),
            (UiEvent::Left, "CLIENTE_REMOVIDO"),
            (UiEvent::Failed(Failure::NotFound(none)), "ERRO: Arquivo não encontrado."),
            (
                UiEvent::Failed(Failure::Refused(ErrorReply::no_such_file())),
                "ERRO: Arquivo não encontrado.",
            ),
        ] {
            assert_eq!(say(&event, Lang::En), Output::Line(said.into()));
        }
        assert!(matches!(say(&UiEvent::Failed(Failure::NotJoined), Lang::Pt), Output::Note(_)));
    }
}
