//! The console of UC3M's clients: commands, and a fixed answer to each.
//!
//! Answers go to stdout, reasons of failures to stderr. The prompt `c> ` is shown on a terminal only: a script that reads a
//! pipe does not see the lines that it has written. The edition of UC3M prints UC3M's own table: the date before each
//! answer, and no blank before commas.

use std::fmt::Write as _;

use crate::client::command::{Command, MultiStep, SaveTarget};
use crate::client::console::{beside, unknown};
use crate::client::parser::ParsedLine;
use crate::client::words::{unquoted, word, words};
use crate::limits;
use crate::protocol::error::ErrorCode;
use crate::protocol::types::account::{AccountOp, Line, Method, Online, Publication, UserName};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::ui::event::{Failure, NamedCommand, Prompt, UiEvent};
use crate::ui::lang::Lang;
use crate::ui::text::{self, Output};

/// Commands for Tab completion.
pub const COMMANDS: [&str; 10] = [
    "REGISTER",
    "UNREGISTER",
    "CONNECT",
    "DISCONNECT",
    "PUBLISH",
    "DELETE",
    "LIST_USERS",
    "LIST_CONTENT",
    "GET_FILE",
    "QUIT",
];

/// The syntax of each command.
const USAGE: [&str; 10] = [
    "REGISTER <userName>",
    "UNREGISTER <userName>",
    "CONNECT <userName>",
    "DISCONNECT <userName>",
    "PUBLISH <fileName> <description>",
    "DELETE <fileName>",
    "LIST_USERS",
    "LIST_CONTENT <userName>",
    "GET_FILE <userName> <remoteFileName> <localFileName>",
    "QUIT",
];

/// Parses a line.
pub(super) fn line(line: &str) -> ParsedLine {
    let (verb, rest) = word(line);
    let plain = |word: &str| {
        word.chars().filter(|c| *c != '_').flat_map(char::to_uppercase).collect::<String>()
    };
    let given = plain(verb);
    let command = match (given.as_str(), &words(rest)[..]) {
        ("", _) => return ParsedLine::Nothing,
        ("REGISTER", [user]) => of_user(Method::Register, user, MultiStep::Register),
        ("UNREGISTER", [user]) => of_user(Method::Unregister, user, MultiStep::Unregister),
        ("CONNECT", [user]) => of_user(Method::Connect, user, MultiStep::Connect),
        ("DISCONNECT", [user]) => of_user(Method::Disconnect, user, MultiStep::Disconnect),
        ("PUBLISH", [file, _, ..]) => publish(file, unquoted(word(rest).1)),
        ("DELETE", [file]) => published(Method::Delete, file)
            .map(|file| MultiStep::Plain(None, AccountOp::Delete(file))),
        ("LISTUSERS", []) => Ok(MultiStep::Plain(
            None,
            AccountOp::ListUsers { cursor: None, most: limits::LIST_ENTRIES },
        )),
        ("LISTCONTENT", [user]) => of_user(Method::ListContent, user, |of| {
            MultiStep::Plain(
                None,
                AccountOp::ListContent { of, cursor: None, most: limits::LIST_ENTRIES },
            )
        }),
        ("GETFILE", [user, remote, local]) => get_file(user, remote, local),
        ("QUIT", []) => return ParsedLine::Do(Command::Quit),
        ("HELP" | "?", _) => return ParsedLine::Do(Command::Help),
        _ => match COMMANDS
            .iter()
            .position(|command| plain(command) == given)
            .and_then(|place| USAGE.get(place))
        {
            Some(usage) => Err(Failure::Usage(usage)),
            None => return unknown(line, verb),
        },
    };
    command.map_or_else(ParsedLine::Wrong, |act| ParsedLine::Do(Command::Act(act)))
}

/// A malformed argument: the command fails as if the server had refused it.
fn wrong(named: NamedCommand, why: Failure) -> Failure {
    Failure::Named(named, Box::new(why))
}

fn user(named: NamedCommand, text: &str) -> Result<UserName, Failure> {
    UserName::new(text).map_err(|why| wrong(named, Failure::Name(text.to_owned(), why)))
}

fn of_user(
    method: Method,
    text: &str,
    act: impl FnOnce(UserName) -> MultiStep,
) -> Result<MultiStep, Failure> {
    user(NamedCommand::Operation(method), text).map(act)
}

fn published(method: Method, text: &str) -> Result<Line, Failure> {
    Line::new(text)
        .filter(|line| !line.is_empty())
        .ok_or_else(|| wrong(NamedCommand::Operation(method), Failure::Wrong("1..255 bytes")))
}

fn publish(file: &str, description: &str) -> Result<MultiStep, Failure> {
    let file = published(Method::Publish, file)?;
    let too_long =
        || wrong(NamedCommand::Operation(Method::Publish), Failure::Wrong("0..255 bytes"));
    let description = Line::new(description).ok_or_else(too_long)?;
    Ok(MultiStep::Plain(None, AccountOp::Publish(Publication { file, description })))
}

fn get_file(from: &str, remote: &str, local: &str) -> Result<MultiStep, Failure> {
    let user = user(NamedCommand::GetFile, from)?;
    let local = SaveTarget::read(local)
        .map_err(|why| wrong(NamedCommand::GetFile, Failure::Name(local.to_owned(), why)))?;
    Ok(MultiStep::GetFile { user, remote: remote.to_owned(), local })
}

/// Formats an event.
pub(super) fn say(event: &UiEvent, edition: LegacyProfile, lang: Lang) -> Output {
    let fixed = edition == LegacyProfile::Uc3mFixed;
    match event {
        UiEvent::At(date) => Output::Line(date.clone()),
        UiEvent::Done(method) => Output::Line(format!("{} OK", method.as_str())),
        UiEvent::Saved { .. } | UiEvent::Unverified { .. } | UiEvent::Same { .. } => {
            Output::Line("GET_FILE OK".into())
        }
        UiEvent::Users(users) => rows(users.iter().map(|online| row_of(online, fixed))),
        UiEvent::Content { files, .. } => {
            let front = if fixed { "" } else { "\t" };
            rows(files.iter().map(|what| format!("{front}{} \"{}\"", what.file, what.description)))
        }
        UiEvent::Failed(Failure::Named(named, why)) => {
            let line = refused(*named, why, fixed);
            if line.ends_with(" FAIL") {
                Output::Answer { line, note: text::failed(why, lang) }
            } else {
                Output::Line(line)
            }
        }
        UiEvent::Failed(Failure::Usage(usage)) => {
            Output::Line(format!("Syntax error. Usage: {usage}"))
        }
        UiEvent::Prompt(Prompt::Command) => Output::Prompt("c> ".into()),
        UiEvent::Help => Output::Note(USAGE.join("\n")),
        _ => beside(event, lang),
    }
}

fn rows(rows: impl Iterator<Item = String>) -> Output {
    let text = rows.fold(String::new(), |mut text, row| {
        let _ = write!(text, "{}{row}", if text.is_empty() { "" } else { "\n" });
        text
    });
    if text.is_empty() { Output::Silent } else { Output::Line(text) }
}

/// `user ip port`; a user without a share has no address.
fn row_of(online: &Online, fixed: bool) -> String {
    let front = if fixed { "" } else { "\t" };
    match online.peer {
        Some(peer) => format!("{front}{} {} {}", online.user, peer.ip(), peer.port()),
        None => format!("{front}{} - -", online.user),
    }
}

/// The fixed text of a failure; `... FAIL` alone for one without a text.
fn refused(named: NamedCommand, why: &Failure, fixed: bool) -> String {
    let word = named.as_str();
    let code = match why {
        Failure::Operation(_, refusal) | Failure::Refused(refusal) => Some(refusal.code),
        Failure::NotFound(_) => Some(ErrorCode::NotFound),
        _ => None,
    };
    let reason = match (named, code) {
        (NamedCommand::Operation(Method::Register), Some(ErrorCode::Taken)) => {
            return "USERNAME IN USE".into();
        }
        (NamedCommand::Operation(Method::Unregister), Some(ErrorCode::NoUser)) if fixed => {
            return "USERNAME DOES NOT EXIST".into();
        }
        (NamedCommand::Operation(Method::Unregister), Some(ErrorCode::NoUser)) => {
            return "USER DOES NOT EXIST".into();
        }
        (NamedCommand::Operation(Method::Connect), Some(ErrorCode::Connected)) if !fixed => {
            return "USER ALREADY CONNECTED".into();
        }
        (NamedCommand::Operation(Method::Register | Method::Unregister), _) => None,
        (NamedCommand::Operation(Method::Connect), Some(ErrorCode::Connected)) => {
            Some("USER ALREADY CONNECTED")
        }
        (NamedCommand::Operation(Method::Publish), Some(ErrorCode::Published)) => {
            Some("CONTENT ALREADY PUBLISHED")
        }
        (NamedCommand::Operation(Method::Delete), Some(ErrorCode::NotPublished)) => {
            Some("CONTENT NOT PUBLISHED")
        }
        (NamedCommand::Operation(Method::ListContent), Some(ErrorCode::NoRemoteUser)) => {
            Some("REMOTE USER DOES NOT EXIST")
        }
        (NamedCommand::Operation(_), Some(ErrorCode::NoUser)) => Some("USER DOES NOT EXIST"),
        (NamedCommand::Operation(Method::Connect), _) => None,
        (NamedCommand::Operation(_), Some(ErrorCode::NotConnected)) => Some("USER NOT CONNECTED"),
        (NamedCommand::GetFile, Some(ErrorCode::NotFound)) if fixed => Some("FILE DOES NOT EXIST"),
        (NamedCommand::GetFile, Some(ErrorCode::NotFound)) => Some("FILE NOT EXIST"),
        (NamedCommand::Operation(_) | NamedCommand::GetFile, _) => None,
    };
    // The editions differ in the separator.
    let between = match named {
        _ if fixed => ",",
        NamedCommand::Operation(Method::Disconnect) | NamedCommand::GetFile => " /",
        NamedCommand::Operation(_) => " ,",
    };
    reason.map_or_else(|| format!("{word} FAIL"), |reason| format!("{word} FAIL{between} {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::error::ErrorReply;
    use crate::protocol::types::relative_path::RelativeName;
    use crate::ui::event::NameLine;

    fn ana() -> UserName {
        UserName::new("ana").unwrap()
    }

    fn text(text: &str) -> Line {
        Line::new(text).unwrap()
    }

    fn list_users() -> MultiStep {
        MultiStep::Plain(None, AccountOp::ListUsers { cursor: None, most: limits::LIST_ENTRIES })
    }

    #[test]
    fn commands_are_parsed_in_any_case_with_or_without_underscores() {
        let content = MultiStep::Plain(
            None,
            AccountOp::ListContent { of: ana(), cursor: None, most: limits::LIST_ENTRIES },
        );
        let publish = |file: &str, description: &str| {
            MultiStep::Plain(
                None,
                AccountOp::Publish(Publication {
                    file: text(file),
                    description: text(description),
                }),
            )
        };
        let get = MultiStep::GetFile {
            user: ana(),
            remote: "a.mp4".into(),
            local: SaveTarget::read("b.mp4").unwrap(),
        };
        for (typed, act) in [
            ("REGISTER ana", MultiStep::Register(ana())),
            ("  register   ana  ", MultiStep::Register(ana())),
            ("Unregister ana", MultiStep::Unregister(ana())),
            ("connect ana", MultiStep::Connect(ana())),
            ("DISCONNECT ana", MultiStep::Disconnect(ana())),
            ("PUBLISH a.mp4 the first lesson", publish("a.mp4", "the first lesson")),
            ("publish \"a b.mp4\" \"the first lesson\"", publish("a b.mp4", "the first lesson")),
            ("publish /tmp/a.mp4 x", publish("/tmp/a.mp4", "x")),
            ("DELETE a.mp4", MultiStep::Plain(None, AccountOp::Delete(text("a.mp4")))),
            ("LIST_USERS", list_users()),
            ("listusers", list_users()),
            ("List_Users", list_users()),
            ("LIST_CONTENT ana", content.clone()),
            ("listcontent ana", content),
            ("GET_FILE ana a.mp4 b.mp4", get.clone()),
            ("getfile ana a.mp4 b.mp4", get),
        ] {
            assert_eq!(line(typed), ParsedLine::Do(Command::Act(act)), "{typed}");
        }
        assert_eq!(line("quit"), ParsedLine::Do(Command::Quit));
        assert_eq!(line(""), ParsedLine::Nothing);
    }

    #[test]
    fn malformed_lines_give_the_syntax() {
        for typed in [
            "REGISTER",
            "register ana maria",
            "UNREGISTER",
            "connect",
            "disconnect",
            "publish a.mp4",
            "publish",
            "delete",
            "delete a b",
            "list_users ana",
            "listcontent",
            "get_file ana a.mp4",
            "getfile ana a b c",
            "quit now",
        ] {
            let ParsedLine::Wrong(failure) = line(typed) else { panic!("{typed}") };
            let said = say(&UiEvent::Failed(failure), LegacyProfile::Uc3m2024, Lang::En);
            let verb = word(typed).0.to_uppercase().replace('_', "");
            assert!(
                matches!(&said, Output::Line(text) if text.replace('_', "").starts_with(&format!("Syntax error. Usage: {verb}"))),
                "{typed}: {said:?}"
            );
        }
        assert_eq!(line("register"), ParsedLine::Wrong(Failure::Usage("REGISTER <userName>")));
        assert!(matches!(line("dance"), ParsedLine::Wrong(Failure::Unknown(_))));
    }

    #[test]
    fn malformed_arguments_fail_as_their_command() {
        let long = "x".repeat(256);
        for (typed, answer) in [
            (format!("register {long}"), "REGISTER FAIL"),
            ("connect ../x".into(), "CONNECT FAIL"),
            (format!("publish {long} x"), "PUBLISH FAIL"),
            (format!("publish a.mp4 {long}"), "PUBLISH FAIL"),
            ("publish a\u{1b}[2J x".into(), "PUBLISH FAIL"),
            (format!("delete {long}"), "DELETE FAIL"),
            ("get_file ana a.mp4 ../../b.mp4".into(), "GET_FILE FAIL"),
        ] {
            let ParsedLine::Wrong(failure) = line(&typed) else { panic!("{typed}") };
            let said = say(&UiEvent::Failed(failure), LegacyProfile::Uc3m2024, Lang::En);
            assert!(
                matches!(&said, Output::Answer { line, note } if line == answer && !note.is_empty()),
                "{typed}: {said:?}"
            );
        }
    }

    fn answer(report: &UiEvent, edition: LegacyProfile) -> String {
        match say(report, edition, Lang::En) {
            Output::Line(line) | Output::Answer { line, .. } => line,
            said => panic!("{said:?}"),
        }
    }

    #[test]
    fn refusals_have_the_text_of_the_edition() {
        use Method::{
            Connect, Delete, Disconnect, ListContent, ListUsers, Publish, Register, Unregister,
        };
        for (method, code, words, fixed) in [
            (Register, ErrorCode::Taken, "USERNAME IN USE", "USERNAME IN USE"),
            (Register, ErrorCode::BadName, "REGISTER FAIL", "REGISTER FAIL"),
            (Unregister, ErrorCode::NoUser, "USER DOES NOT EXIST", "USERNAME DOES NOT EXIST"),
            (Unregister, ErrorCode::BadProof, "UNREGISTER FAIL", "UNREGISTER FAIL"),
            (
                Connect,
                ErrorCode::NoUser,
                "CONNECT FAIL , USER DOES NOT EXIST",
                "CONNECT FAIL, USER DOES NOT EXIST",
            ),
            (
                Connect,
                ErrorCode::Connected,
                "USER ALREADY CONNECTED",
                "CONNECT FAIL, USER ALREADY CONNECTED",
            ),
            (Connect, ErrorCode::BadProof, "CONNECT FAIL", "CONNECT FAIL"),
            (Connect, ErrorCode::NotConnected, "CONNECT FAIL", "CONNECT FAIL"),
            (
                Disconnect,
                ErrorCode::NoUser,
                "DISCONNECT FAIL / USER DOES NOT EXIST",
                "DISCONNECT FAIL, USER DOES NOT EXIST",
            ),
            (
                Disconnect,
                ErrorCode::NotConnected,
                "DISCONNECT FAIL / USER NOT CONNECTED",
                "DISCONNECT FAIL, USER NOT CONNECTED",
            ),
            (Disconnect, ErrorCode::Io, "DISCONNECT FAIL", "DISCONNECT FAIL"),
            (
                Publish,
                ErrorCode::NoUser,
                "PUBLISH FAIL , USER DOES NOT EXIST",
                "PUBLISH FAIL, USER DOES NOT EXIST",
            ),
            (
                Publish,
                ErrorCode::NotConnected,
                "PUBLISH FAIL , USER NOT CONNECTED",
                "PUBLISH FAIL, USER NOT CONNECTED",
            ),
            (
                Publish,
                ErrorCode::Published,
                "PUBLISH FAIL , CONTENT ALREADY PUBLISHED",
                "PUBLISH FAIL, CONTENT ALREADY PUBLISHED",
            ),
            (Publish, ErrorCode::Io, "PUBLISH FAIL", "PUBLISH FAIL"),
            (
                Delete,
                ErrorCode::NoUser,
                "DELETE FAIL , USER DOES NOT EXIST",
                "DELETE FAIL, USER DOES NOT EXIST",
            ),
            (
                Delete,
                ErrorCode::NotConnected,
                "DELETE FAIL , USER NOT CONNECTED",
                "DELETE FAIL, USER NOT CONNECTED",
            ),
            (
                Delete,
                ErrorCode::NotPublished,
                "DELETE FAIL , CONTENT NOT PUBLISHED",
                "DELETE FAIL, CONTENT NOT PUBLISHED",
            ),
            (Delete, ErrorCode::Internal, "DELETE FAIL", "DELETE FAIL"),
            (
                ListUsers,
                ErrorCode::NoUser,
                "LIST_USERS FAIL , USER DOES NOT EXIST",
                "LIST_USERS FAIL, USER DOES NOT EXIST",
            ),
            (
                ListUsers,
                ErrorCode::NotConnected,
                "LIST_USERS FAIL , USER NOT CONNECTED",
                "LIST_USERS FAIL, USER NOT CONNECTED",
            ),
            (ListUsers, ErrorCode::Busy, "LIST_USERS FAIL", "LIST_USERS FAIL"),
            (
                ListContent,
                ErrorCode::NoUser,
                "LIST_CONTENT FAIL , USER DOES NOT EXIST",
                "LIST_CONTENT FAIL, USER DOES NOT EXIST",
            ),
            (
                ListContent,
                ErrorCode::NotConnected,
                "LIST_CONTENT FAIL , USER NOT CONNECTED",
                "LIST_CONTENT FAIL, USER NOT CONNECTED",
            ),
            (
                ListContent,
                ErrorCode::NoRemoteUser,
                "LIST_CONTENT FAIL , REMOTE USER DOES NOT EXIST",
                "LIST_CONTENT FAIL, REMOTE USER DOES NOT EXIST",
            ),
            (ListContent, ErrorCode::TooLarge, "LIST_CONTENT FAIL", "LIST_CONTENT FAIL"),
        ] {
            let failure = Failure::Operation(method, ErrorReply::new(code, "why"));
            let report =
                UiEvent::Failed(Failure::Named(NamedCommand::Operation(method), Box::new(failure)));
            assert_eq!(answer(&report, LegacyProfile::Uc3m2024), words);
            assert_eq!(answer(&report, LegacyProfile::Uc3mFixed), fixed);
        }
    }

    #[test]
    fn other_failures_are_a_fail_and_a_note() {
        for failure in
            [Failure::NoServer(None), Failure::Protocol("x".into()), Failure::Disk("full".into())]
        {
            for (named, words) in [
                (NamedCommand::Operation(Method::ListUsers), "LIST_USERS FAIL"),
                (NamedCommand::GetFile, "GET_FILE FAIL"),
            ] {
                let said = say(
                    &UiEvent::Failed(Failure::Named(named, Box::new(failure.clone()))),
                    LegacyProfile::Uc3mFixed,
                    Lang::En,
                );
                assert_eq!(
                    said,
                    Output::Answer { line: words.into(), note: text::failed(&failure, Lang::En) }
                );
            }
        }
    }

    #[test]
    fn a_download_succeeds_or_is_not_found() {
        let name = RelativeName::new("a.mp4").unwrap();
        let missing = UiEvent::Failed(Failure::Named(
            NamedCommand::GetFile,
            Box::new(Failure::NotFound(name.clone())),
        ));
        assert_eq!(answer(&missing, LegacyProfile::Uc3m2025), "GET_FILE FAIL / FILE NOT EXIST");
        assert_eq!(
            answer(&missing, LegacyProfile::Uc3mFixed),
            "GET_FILE FAIL, FILE DOES NOT EXIST"
        );
        assert_eq!(answer(&UiEvent::Same { name }, LegacyProfile::Uc3m2020), "GET_FILE OK");
    }

    #[test]
    fn successes_are_answered_and_lists_follow_row_by_row() {
        for (method, words) in [
            (Method::Register, "REGISTER OK"),
            (Method::Unregister, "UNREGISTER OK"),
            (Method::Connect, "CONNECT OK"),
            (Method::Disconnect, "DISCONNECT OK"),
            (Method::Publish, "PUBLISH OK"),
            (Method::Delete, "DELETE OK"),
            (Method::ListUsers, "LIST_USERS OK"),
            (Method::ListContent, "LIST_CONTENT OK"),
        ] {
            assert_eq!(answer(&UiEvent::Done(method), LegacyProfile::Uc3m2020), words);
        }
        let online = |name: &str, peer: Option<&str>| Online {
            user: UserName::new(name).unwrap(),
            peer: peer.map(|at| at.parse().unwrap()),
            speaks: None,
        };
        let users =
            UiEvent::Users(vec![online("ana", Some("127.0.0.1:4000")), online("bob", None)]);
        assert_eq!(answer(&users, LegacyProfile::Uc3m2024), "\tana 127.0.0.1 4000\n\tbob - -");
        assert_eq!(answer(&users, LegacyProfile::Uc3mFixed), "ana 127.0.0.1 4000\nbob - -");
        let files =
            vec![Publication { file: text("a.mp4"), description: text("the first lesson") }];
        let content = UiEvent::Content { of: ana(), files };
        assert_eq!(answer(&content, LegacyProfile::Uc3m2024), "\ta.mp4 \"the first lesson\"");
        assert_eq!(answer(&content, LegacyProfile::Uc3mFixed), "a.mp4 \"the first lesson\"");
        assert_eq!(
            say(&UiEvent::Users(Vec::new()), LegacyProfile::Uc3m2024, Lang::En),
            Output::Silent
        );
        assert_eq!(
            answer(&UiEvent::At("21/11/2026 11:46:02".into()), LegacyProfile::Uc3mFixed),
            "21/11/2026 11:46:02"
        );
    }

    #[test]
    fn events_that_are_no_answers_stay_off_stdout() {
        let me = UiEvent::IAm { me: "127.0.0.1:4000".parse().unwrap(), names: NameLine::new(true) };
        for report in [
            me,
            UiEvent::Left,
            UiEvent::Help,
            UiEvent::Failed(Failure::Unknown("DANCE".into())),
            UiEvent::Failed(Failure::NoServer(None)),
        ] {
            assert!(
                matches!(say(&report, LegacyProfile::Uc3m2024, Lang::Pt), Output::Note(_)),
                "{report:?}"
            );
        }
        assert_eq!(
            say(&UiEvent::Prompt(Prompt::Command), LegacyProfile::Uc3m2024, Lang::Pt),
            Output::Prompt("c> ".into())
        );
    }
}
