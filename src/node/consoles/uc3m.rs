//! The console of UC3M's clients: the commands of seed 003, and an answer of fixed words to each.
//!
//! Answers stand on stdout, each on lines of its own, and why something failed on stderr. The prompt `c> ` is drawn at a terminal alone: whoever reads
//! answers from a pipe has not typed the lines that it would stand before. The edition of seed 003 prints seed 003's own table: the date before each
//! answer, and commas without a blank before them.

use std::fmt::Write as _;

use crate::message::account::{Deed, Line, Method, Online, Publication, UserName};
use crate::message::limits;
use crate::message::name::FileName;
use crate::message::refusal::Code;
use crate::message::tongue::Tongue;
use crate::node::consoles::{beside, unknown, unquoted, word, words};
use crate::node::lines::{self, Lang, Said};
use crate::node::peer::acts::Act;
use crate::node::peer::desk::{Command, Step};
use crate::node::report::{Failure, Named, Prompt, Report};

/// What Tab completes.
pub const COMMANDS: [&str; 10] =
    ["REGISTER", "UNREGISTER", "CONNECT", "DISCONNECT", "PUBLISH", "DELETE", "LIST_USERS", "LIST_CONTENT", "GET_FILE", "QUIT"];

/// How each of them is written.
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

/// What a line means.
pub(super) fn line(line: &str) -> Step {
    let (verb, rest) = word(line);
    let plain = |word: &str| word.chars().filter(|c| *c != '_').flat_map(char::to_uppercase).collect::<String>();
    let given = plain(verb);
    let command = match (given.as_str(), &words(rest)[..]) {
        ("", _) => return Step::Nothing,
        ("REGISTER", [user]) => of_user(Method::Register, user, |user| Act::Plain(Some(user), Deed::Register)),
        ("UNREGISTER", [user]) => of_user(Method::Unregister, user, Act::Unregister),
        ("CONNECT", [user]) => of_user(Method::Connect, user, Act::Connect),
        ("DISCONNECT", [user]) => of_user(Method::Disconnect, user, Act::Disconnect),
        ("PUBLISH", [file, _, ..]) => publish(file, unquoted(word(rest).1)),
        ("DELETE", [file]) => published(Method::Delete, file).map(|file| Act::Plain(None, Deed::Delete(file))),
        ("LISTUSERS", []) => Ok(Act::Plain(None, Deed::ListUsers { cursor: None, most: limits::LIST_ENTRIES })),
        ("LISTCONTENT", [user]) => {
            of_user(Method::ListContent, user, |of| Act::Plain(None, Deed::ListContent { of, cursor: None, most: limits::LIST_ENTRIES }))
        }
        ("GETFILE", [user, remote, local]) => get_file(user, remote, local),
        ("QUIT", []) => return Step::Do(Command::Quit),
        ("HELP" | "?", _) => return Step::Do(Command::Help),
        _ => match COMMANDS.iter().position(|command| plain(command) == given).and_then(|place| USAGE.get(place)) {
            Some(usage) => Err(Failure::Usage(usage)),
            None => return unknown(line, verb),
        },
    };
    command.map_or_else(Step::Wrong, |act| Step::Do(Command::Act(act)))
}

/// Something was wrong with the words of a command before it could be sent: it fails as if the server had said so.
fn wrong(named: Named, why: Failure) -> Failure {
    Failure::Named(named, Box::new(why))
}

fn user(named: Named, text: &str) -> Result<UserName, Failure> {
    UserName::new(text).map_err(|why| wrong(named, Failure::Name(text.to_owned(), why)))
}

fn of_user(method: Method, text: &str, act: impl FnOnce(UserName) -> Act) -> Result<Act, Failure> {
    user(Named::Operation(method), text).map(act)
}

fn published(method: Method, text: &str) -> Result<Line, Failure> {
    Line::new(text).filter(|line| !line.is_empty()).ok_or_else(|| wrong(Named::Operation(method), Failure::Wrong("1..255 bytes")))
}

fn publish(file: &str, description: &str) -> Result<Act, Failure> {
    let file = published(Method::Publish, file)?;
    let too_long = || wrong(Named::Operation(Method::Publish), Failure::Wrong("0..255 bytes"));
    let description = Line::new(description).ok_or_else(too_long)?;
    Ok(Act::Plain(None, Deed::Publish(Publication { file, description })))
}

fn get_file(from: &str, remote: &str, local: &str) -> Result<Act, Failure> {
    let user = user(Named::GetFile, from)?;
    let local = FileName::new(local).map_err(|why| wrong(Named::GetFile, Failure::Name(local.to_owned(), why)))?;
    Ok(Act::GetFile { user, remote: remote.to_owned(), local })
}

/// A report in words.
pub(super) fn say(report: &Report, edition: Tongue, lang: Lang) -> Said {
    let seed003 = edition == Tongue::Uc3mSeed003;
    match report {
        Report::At(date) => Said::Line(date.clone()),
        Report::Done(method) => Said::Line(format!("{} OK", method.word())),
        Report::Saved { .. } | Report::Unverified { .. } | Report::Same { .. } => Said::Line("GET_FILE OK".into()),
        Report::Users(users) => rows(users.iter().map(|online| row_of(online, seed003))),
        Report::Content { files, .. } => {
            let front = if seed003 { "" } else { "\t" };
            rows(files.iter().map(|what| format!("{front}{} \"{}\"", what.file, what.description)))
        }
        Report::Failed(Failure::Named(named, why)) => {
            let line = refused(*named, why, seed003);
            if line.ends_with(" FAIL") { Said::Answer { line, note: lines::failed(why, lang) } } else { Said::Line(line) }
        }
        Report::Failed(Failure::Usage(usage)) => Said::Line(format!("Syntax error. Usage: {usage}")),
        Report::Prompt(Prompt::Command) => Said::Prompt("c> ".into()),
        Report::Help => Said::Note(USAGE.join("\n")),
        _ => beside(report, lang),
    }
}

fn rows(rows: impl Iterator<Item = String>) -> Said {
    let text = rows.fold(String::new(), |mut text, row| {
        let _ = write!(text, "{}{row}", if text.is_empty() { "" } else { "\n" });
        text
    });
    if text.is_empty() { Said::Silent } else { Said::Line(text) }
}

/// `user ip port`; whoever is there and shares nothing answers nowhere.
fn row_of(online: &Online, seed003: bool) -> String {
    let front = if seed003 { "" } else { "\t" };
    match online.peer {
        Some(peer) => format!("{front}{} {} {}", online.user, peer.ip(), peer.port()),
        None => format!("{front}{} - -", online.user),
    }
}

/// Why not, in the fixed words; `... FAIL` alone for all that has none.
fn refused(named: Named, why: &Failure, seed003: bool) -> String {
    let word = named.word();
    let code = match why {
        Failure::Operation(_, refusal) | Failure::Refused(refusal) => Some(refusal.code),
        Failure::NotFound(_) => Some(Code::NotFound),
        _ => None,
    };
    let reason = match (named, code) {
        (Named::Operation(Method::Register), Some(Code::Taken)) => return "USERNAME IN USE".into(),
        (Named::Operation(Method::Unregister), Some(Code::NoUser)) if seed003 => return "USERNAME DOES NOT EXIST".into(),
        (Named::Operation(Method::Unregister), Some(Code::NoUser)) => return "USER DOES NOT EXIST".into(),
        (Named::Operation(Method::Connect), Some(Code::Connected)) if !seed003 => return "USER ALREADY CONNECTED".into(),
        (Named::Operation(Method::Register | Method::Unregister), _) => None,
        (Named::Operation(Method::Connect), Some(Code::Connected)) => Some("USER ALREADY CONNECTED"),
        (Named::Operation(Method::Publish), Some(Code::Published)) => Some("CONTENT ALREADY PUBLISHED"),
        (Named::Operation(Method::Delete), Some(Code::NotPublished)) => Some("CONTENT NOT PUBLISHED"),
        (Named::Operation(Method::ListContent), Some(Code::NoRemoteUser)) => Some("REMOTE USER DOES NOT EXIST"),
        (Named::Operation(_), Some(Code::NoUser)) => Some("USER DOES NOT EXIST"),
        (Named::Operation(Method::Connect), _) => None,
        (Named::Operation(_), Some(Code::NotConnected)) => Some("USER NOT CONNECTED"),
        (Named::GetFile, Some(Code::NotFound)) if seed003 => Some("FILE DOES NOT EXIST"),
        (Named::GetFile, Some(Code::NotFound)) => Some("FILE NOT EXIST"),
        (Named::Operation(_) | Named::GetFile, _) => None,
    };
    // The editions do not agree on what stands between.
    let between = match named {
        _ if seed003 => ",",
        Named::Operation(Method::Disconnect) | Named::GetFile => " /",
        Named::Operation(_) => " ,",
    };
    reason.map_or_else(|| format!("{word} FAIL"), |reason| format!("{word} FAIL{between} {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::refusal::Refusal;
    use crate::message::relative::RelativeName;

    fn ana() -> UserName {
        UserName::new("ana").unwrap()
    }

    fn text(text: &str) -> Line {
        Line::new(text).unwrap()
    }

    fn list_users() -> Act {
        Act::Plain(None, Deed::ListUsers { cursor: None, most: limits::LIST_ENTRIES })
    }

    #[test]
    fn every_command_is_understood_in_any_case_and_with_or_without_its_line() {
        let content = Act::Plain(None, Deed::ListContent { of: ana(), cursor: None, most: limits::LIST_ENTRIES });
        let publish =
            |file: &str, description: &str| Act::Plain(None, Deed::Publish(Publication { file: text(file), description: text(description) }));
        let get = Act::GetFile { user: ana(), remote: "a.mp4".into(), local: FileName::new("b.mp4").unwrap() };
        for (typed, act) in [
            ("REGISTER ana", Act::Plain(Some(ana()), Deed::Register)),
            ("  register   ana  ", Act::Plain(Some(ana()), Deed::Register)),
            ("Unregister ana", Act::Unregister(ana())),
            ("connect ana", Act::Connect(ana())),
            ("DISCONNECT ana", Act::Disconnect(ana())),
            ("PUBLISH a.mp4 the first lesson", publish("a.mp4", "the first lesson")),
            ("publish \"a b.mp4\" \"the first lesson\"", publish("a b.mp4", "the first lesson")),
            ("publish /tmp/a.mp4 x", publish("/tmp/a.mp4", "x")),
            ("DELETE a.mp4", Act::Plain(None, Deed::Delete(text("a.mp4")))),
            ("LIST_USERS", list_users()),
            ("listusers", list_users()),
            ("List_Users", list_users()),
            ("LIST_CONTENT ana", content.clone()),
            ("listcontent ana", content),
            ("GET_FILE ana a.mp4 b.mp4", get.clone()),
            ("getfile ana a.mp4 b.mp4", get),
        ] {
            assert_eq!(line(typed), Step::Do(Command::Act(act)), "{typed}");
        }
        assert_eq!(line("quit"), Step::Do(Command::Quit));
        assert_eq!(line(""), Step::Nothing);
    }

    #[test]
    fn wrong_syntax_is_told_and_nothing_is_begun() {
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
            let Step::Wrong(failure) = line(typed) else { panic!("{typed}") };
            let said = say(&Report::Failed(failure), Tongue::Uc3m2024, Lang::En);
            let verb = word(typed).0.to_uppercase().replace('_', "");
            assert!(
                matches!(&said, Said::Line(text) if text.replace('_', "").starts_with(&format!("Syntax error. Usage: {verb}"))),
                "{typed}: {said:?}"
            );
        }
        assert_eq!(line("register"), Step::Wrong(Failure::Usage("REGISTER <userName>")));
        assert!(matches!(line("dance"), Step::Wrong(Failure::Unknown(_))));
    }

    #[test]
    fn words_that_no_server_could_take_fail_as_the_command_that_they_stand_in() {
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
            let Step::Wrong(failure) = line(&typed) else { panic!("{typed}") };
            let said = say(&Report::Failed(failure), Tongue::Uc3m2024, Lang::En);
            assert!(matches!(&said, Said::Answer { line, note } if line == answer && !note.is_empty()), "{typed}: {said:?}");
        }
    }

    fn answer(report: &Report, edition: Tongue) -> String {
        match say(report, edition, Lang::En) {
            Said::Line(line) | Said::Answer { line, .. } => line,
            said => panic!("{said:?}"),
        }
    }

    #[test]
    fn every_refusal_has_the_words_of_its_edition() {
        use Method::{Connect, Delete, Disconnect, ListContent, ListUsers, Publish, Register, Unregister};
        for (method, code, words, seed003) in [
            (Register, Code::Taken, "USERNAME IN USE", "USERNAME IN USE"),
            (Register, Code::BadName, "REGISTER FAIL", "REGISTER FAIL"),
            (Unregister, Code::NoUser, "USER DOES NOT EXIST", "USERNAME DOES NOT EXIST"),
            (Unregister, Code::BadProof, "UNREGISTER FAIL", "UNREGISTER FAIL"),
            (Connect, Code::NoUser, "CONNECT FAIL , USER DOES NOT EXIST", "CONNECT FAIL, USER DOES NOT EXIST"),
            (Connect, Code::Connected, "USER ALREADY CONNECTED", "CONNECT FAIL, USER ALREADY CONNECTED"),
            (Connect, Code::BadProof, "CONNECT FAIL", "CONNECT FAIL"),
            (Connect, Code::NotConnected, "CONNECT FAIL", "CONNECT FAIL"),
            (Disconnect, Code::NoUser, "DISCONNECT FAIL / USER DOES NOT EXIST", "DISCONNECT FAIL, USER DOES NOT EXIST"),
            (Disconnect, Code::NotConnected, "DISCONNECT FAIL / USER NOT CONNECTED", "DISCONNECT FAIL, USER NOT CONNECTED"),
            (Disconnect, Code::Io, "DISCONNECT FAIL", "DISCONNECT FAIL"),
            (Publish, Code::NoUser, "PUBLISH FAIL , USER DOES NOT EXIST", "PUBLISH FAIL, USER DOES NOT EXIST"),
            (Publish, Code::NotConnected, "PUBLISH FAIL , USER NOT CONNECTED", "PUBLISH FAIL, USER NOT CONNECTED"),
            (Publish, Code::Published, "PUBLISH FAIL , CONTENT ALREADY PUBLISHED", "PUBLISH FAIL, CONTENT ALREADY PUBLISHED"),
            (Publish, Code::Io, "PUBLISH FAIL", "PUBLISH FAIL"),
            (Delete, Code::NoUser, "DELETE FAIL , USER DOES NOT EXIST", "DELETE FAIL, USER DOES NOT EXIST"),
            (Delete, Code::NotConnected, "DELETE FAIL , USER NOT CONNECTED", "DELETE FAIL, USER NOT CONNECTED"),
            (Delete, Code::NotPublished, "DELETE FAIL , CONTENT NOT PUBLISHED", "DELETE FAIL, CONTENT NOT PUBLISHED"),
            (Delete, Code::Internal, "DELETE FAIL", "DELETE FAIL"),
            (ListUsers, Code::NoUser, "LIST_USERS FAIL , USER DOES NOT EXIST", "LIST_USERS FAIL, USER DOES NOT EXIST"),
            (ListUsers, Code::NotConnected, "LIST_USERS FAIL , USER NOT CONNECTED", "LIST_USERS FAIL, USER NOT CONNECTED"),
            (ListUsers, Code::Busy, "LIST_USERS FAIL", "LIST_USERS FAIL"),
            (ListContent, Code::NoUser, "LIST_CONTENT FAIL , USER DOES NOT EXIST", "LIST_CONTENT FAIL, USER DOES NOT EXIST"),
            (ListContent, Code::NotConnected, "LIST_CONTENT FAIL , USER NOT CONNECTED", "LIST_CONTENT FAIL, USER NOT CONNECTED"),
            (ListContent, Code::NoRemoteUser, "LIST_CONTENT FAIL , REMOTE USER DOES NOT EXIST", "LIST_CONTENT FAIL, REMOTE USER DOES NOT EXIST"),
            (ListContent, Code::TooLarge, "LIST_CONTENT FAIL", "LIST_CONTENT FAIL"),
        ] {
            let failure = Failure::Operation(method, Refusal::new(code, "why"));
            let report = Report::Failed(Failure::Named(Named::Operation(method), Box::new(failure)));
            assert_eq!(answer(&report, Tongue::Uc3m2024), words);
            assert_eq!(answer(&report, Tongue::Uc3mSeed003), seed003);
        }
    }

    #[test]
    fn whatever_else_goes_wrong_is_a_fail_and_a_note() {
        for failure in [Failure::NoServer(None), Failure::Protocol("x".into()), Failure::Disk("full".into())] {
            for (named, words) in [(Named::Operation(Method::ListUsers), "LIST_USERS FAIL"), (Named::GetFile, "GET_FILE FAIL")] {
                let said = say(&Report::Failed(Failure::Named(named, Box::new(failure.clone()))), Tongue::Uc3mSeed003, Lang::En);
                assert_eq!(said, Said::Answer { line: words.into(), note: lines::failed(&failure, Lang::En) });
            }
        }
    }

    #[test]
    fn a_file_comes_or_is_not_there() {
        let name = RelativeName::new("a.mp4").unwrap();
        let missing = Report::Failed(Failure::Named(Named::GetFile, Box::new(Failure::NotFound(name.clone()))));
        assert_eq!(answer(&missing, Tongue::Uc3m2025), "GET_FILE FAIL / FILE NOT EXIST");
        assert_eq!(answer(&missing, Tongue::Uc3mSeed003), "GET_FILE FAIL, FILE DOES NOT EXIST");
        assert_eq!(answer(&Report::Same { name }, Tongue::Uc3m2020), "GET_FILE OK");
    }

    #[test]
    fn what_went_well_is_said_and_lists_follow_a_row_a_line() {
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
            assert_eq!(answer(&Report::Done(method), Tongue::Uc3m2020), words);
        }
        let online =
            |name: &str, peer: Option<&str>| Online { user: UserName::new(name).unwrap(), peer: peer.map(|at| at.parse().unwrap()), speaks: None };
        let users = Report::Users(vec![online("ana", Some("127.0.0.1:4000")), online("bob", None)]);
        assert_eq!(answer(&users, Tongue::Uc3m2024), "\tana 127.0.0.1 4000\n\tbob - -");
        assert_eq!(answer(&users, Tongue::Uc3mSeed003), "ana 127.0.0.1 4000\nbob - -");
        let files = vec![Publication { file: text("a.mp4"), description: text("the first lesson") }];
        let content = Report::Content { of: ana(), files };
        assert_eq!(answer(&content, Tongue::Uc3m2024), "\ta.mp4 \"the first lesson\"");
        assert_eq!(answer(&content, Tongue::Uc3mSeed003), "a.mp4 \"the first lesson\"");
        assert_eq!(say(&Report::Users(Vec::new()), Tongue::Uc3m2024, Lang::En), Said::Silent);
        assert_eq!(answer(&Report::At("21/11/2026 11:46:02".into()), Tongue::Uc3mSeed003), "21/11/2026 11:46:02");
    }

    #[test]
    fn what_is_no_answer_stays_off_stdout() {
        let me = Report::IAm { me: "127.0.0.1:4000".parse().unwrap(), names: " a.mp4".into() };
        for report in [me, Report::Left, Report::Help, Report::Failed(Failure::Unknown("DANCE".into())), Report::Failed(Failure::NoServer(None))] {
            assert!(matches!(say(&report, Tongue::Uc3m2024, Lang::Pt), Said::Note(_)), "{report:?}");
        }
        assert_eq!(say(&Report::Prompt(Prompt::Command), Tongue::Uc3m2024, Lang::Pt), Said::Prompt("c> ".into()));
    }
}
