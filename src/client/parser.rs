//! Parse lines into commands: typed or piped, with arguments on the line or prompted for.

use std::net::SocketAddr;

use crate::client::command::{
    Command, DownloadTarget, MAX_PROVIDERS, MultiStep, PeerTarget, legacy_prefix, name, published,
    spelled,
};
use crate::client::control_words;
use crate::client::words;
use crate::limits;
use crate::protocol::types::absolute_path::AbsolutePath;
use crate::protocol::types::account::{AccountOp, Line, Publication, UserName};
use crate::protocol::types::address;
use crate::protocol::types::file_name::printable;
use crate::protocol::types::query::{Query, QueryTerm};
use crate::ui::event::{Failure, Prompt};

/// The result of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParsedLine {
    /// A complete command.
    Do(Command),
    /// An argument is missing: prompt for it, and take it from the next line.
    Ask(Prompt),
    /// Malformed: the command begun is dropped.
    Wrong(Failure),
    /// The answer to a prompt is malformed: prompt again.
    Again(Failure, Prompt),
    /// An empty line.
    Nothing,
}

/// Turns lines into commands.
#[derive(Debug, Default)]
pub struct CommandParser {
    form: Option<Prompting>,
}

/// A command whose arguments are prompted for one by one.
#[derive(Debug)]
struct Prompting {
    verb: CommandVerb,
    words: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommandVerb {
    Join,
    Search,
    Download,
    Get,
    Play,
    Ls,
    Find,
    Register,
    Unregister,
    Connect,
    Publish,
    Delete,
    Content,
    GetFile,
}

impl CommandVerb {
    /// Its arguments, in order.
    fn arguments(self) -> &'static [Prompt] {
        match self {
            CommandVerb::Join => &[Prompt::Ip, Prompt::Port, Prompt::Folder],
            CommandVerb::Search | CommandVerb::Publish | CommandVerb::Delete => &[Prompt::Name],
            CommandVerb::Find => &[Prompt::Text],
            CommandVerb::Register
            | CommandVerb::Unregister
            | CommandVerb::Connect
            | CommandVerb::Content => &[Prompt::User],
            CommandVerb::GetFile => &[Prompt::User, Prompt::Name],
            CommandVerb::Get | CommandVerb::Play => &[Prompt::Goal],
            CommandVerb::Download | CommandVerb::Ls => &[Prompt::Ip, Prompt::Port],
        }
    }
}

impl CommandParser {
    /// Parses one line.
    pub fn parse_line(&mut self, line: &str) -> ParsedLine {
        let line = line.trim();
        if let Some(mut form) = self.form.take() {
            if line.is_empty() {
                let prompt = form.verb.arguments()[form.words.len()];
                self.form = Some(form);
                return ParsedLine::Ask(prompt);
            }
            let prompt = form.verb.arguments()[form.words.len()];
            if let Err(failure) = check(line, prompt) {
                // A complete command cancels the prompt.
                let other = CommandParser::default().parse_line(line);
                if matches!(other, ParsedLine::Do(_)) {
                    return other;
                }
                self.form = Some(form);
                return ParsedLine::Again(failure, prompt);
            }
            form.words.push(line.to_owned());
            return self.fill(form);
        }
        let (verb, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let upper = verb.to_uppercase();
        if let Some(request) = control_words::parse(&upper, rest) {
            return match request {
                Ok(request) => ParsedLine::Do(Command::Control(Box::new(request))),
                Err(failure) => ParsedLine::Wrong(failure),
            };
        }
        let verb = match upper.as_str() {
            "" => return ParsedLine::Nothing,
            "JOIN" | "1" => CommandVerb::Join,
            "SEARCH" | "2" => CommandVerb::Search,
            "DOWNLOAD" | "3" => CommandVerb::Download,
            "GET" => CommandVerb::Get,
            "PLAY" => CommandVerb::Play,
            "LS" => CommandVerb::Ls,
            "FIND" => CommandVerb::Find,
            "REGISTER" => CommandVerb::Register,
            "UNREGISTER" => CommandVerb::Unregister,
            "CONNECT" => CommandVerb::Connect,
            "PUBLISH" => CommandVerb::Publish,
            "DELETE" => CommandVerb::Delete,
            "CONTENT" | "LIST_CONTENT" => CommandVerb::Content,
            "GETFILE" | "GET_FILE" => CommandVerb::GetFile,
            "DISCONNECT" => return ParsedLine::Do(Command::Operate(None, AccountOp::Disconnect)),
            "USERS" | "LIST_USERS" => {
                return ParsedLine::Do(Command::Operate(
                    None,
                    AccountOp::ListUsers { cursor: None, most: limits::LIST_ENTRIES },
                ));
            }
            "NODES" | "LIST" | "NOS" | "NÓS" | "NODOS" => {
                return ParsedLine::Do(Command::Act(MultiStep::Nodes));
            }
            "PEERS" => return ParsedLine::Do(Command::Peers),
            "LEAVE" => return ParsedLine::Do(Command::Leave),
            "QUIT" | "EXIT" => return ParsedLine::Do(Command::Quit),
            "HELP" | "?" => return ParsedLine::Do(Command::Help),
            "SIM" | "S" | "SI" | "SÍ" | "YES" | "Y" => {
                return ParsedLine::Do(Command::Verdict(true));
            }
            "NAO" | "NÃO" | "N" | "NO" => return ParsedLine::Do(Command::Verdict(false)),
            _ => {
                return ParsedLine::Wrong(Failure::Unknown(printable(verb)));
            }
        };
        self.fill(Prompting { verb, words: arguments(verb, rest.trim()) })
    }

    /// True while the next line answers a prompt.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.form.is_some()
    }

    /// Drops the command of the open prompt.
    pub fn cancel(&mut self) {
        self.form = None;
    }

    /// The verdict in a line; `None` for any other line.
    #[must_use]
    pub fn verdict(line: &str) -> Option<bool> {
        match CommandParser::default().parse_line(line) {
            ParsedLine::Do(Command::Verdict(yes)) => Some(yes),
            _ => None,
        }
    }

    /// Builds the command of a complete form, or prompts for the next argument. Malformed arguments fail at once.
    fn fill(&mut self, form: Prompting) -> ParsedLine {
        let arguments = form.verb.arguments();
        for (word, argument) in form.words.iter().zip(arguments) {
            if let Err(failure) = check(word, *argument) {
                return ParsedLine::Wrong(failure);
            }
        }
        if let Some(prompt) = arguments.get(form.words.len()) {
            let prompt = *prompt;
            self.form = Some(form);
            return ParsedLine::Ask(prompt);
        }
        match form.command() {
            Ok(command) => ParsedLine::Do(command),
            Err(failure) => ParsedLine::Wrong(failure),
        }
    }
}

impl Prompting {
    fn command(&self) -> Result<Command, Failure> {
        let word = |place: usize| self.words.get(place).map_or("", String::as_str);
        let with_port = |mut at: SocketAddr, port| {
            at.set_port(port);
            at
        };
        let address = || Ok(with_port(ip(word(0))?, port(word(1))?));
        let place = || {
            let (speaks, rest) = legacy_prefix(word(0)).ok_or(Failure::Wrong("IP"))?;
            Ok(PeerTarget { at: with_port(ip(rest)?, port(word(1))?), speaks })
        };
        Ok(match self.verb {
            CommandVerb::Join => Command::Join { at: address()?, folder: word(2).to_owned() },
            CommandVerb::Search => Command::Search(name(word(0))?),
            CommandVerb::Get => Command::Get(DownloadTarget::read(word(0))?),
            CommandVerb::Play => Command::Play(DownloadTarget::read(word(0))?),
            CommandVerb::Download => Command::Download(place()?),
            CommandVerb::Ls => Command::Ls(place()?),
            CommandVerb::Find => Command::Find(
                Box::new(Query::new(QueryTerm::Contains(text(word(0))?.to_string()))),
                MAX_PROVIDERS,
            ),
            CommandVerb::Register => Command::Operate(Some(user(word(0))?), AccountOp::Register),
            CommandVerb::Unregister => Command::Act(MultiStep::Unregister(user(word(0))?)),
            CommandVerb::Connect => {
                Command::Operate(Some(user(word(0))?), AccountOp::Connect { port: None })
            }
            CommandVerb::Publish => Command::Operate(
                None,
                AccountOp::Publish(Publication {
                    file: published(word(0))?,
                    description: text(word(1))?,
                }),
            ),
            CommandVerb::Delete => Command::Operate(None, AccountOp::Delete(published(word(0))?)),
            CommandVerb::Content => Command::Operate(
                None,
                AccountOp::ListContent {
                    of: user(word(0))?,
                    cursor: None,
                    most: limits::LIST_ENTRIES,
                },
            ),
            CommandVerb::GetFile => {
                let remote = name(word(1))?;
                let is_absolute = AbsolutePath::new(word(1)).is_some();
                Command::Act(MultiStep::GetFile {
                    user: user(word(0))?,
                    remote: spelled(&remote, is_absolute),
                    local: remote.file().into(),
                })
            }
        })
    }
}

/// Arguments on the line of the verb. A name or a folder takes the rest, blanks included; `IP:PORT` counts as two.
fn arguments(verb: CommandVerb, rest: &str) -> Vec<String> {
    if rest.is_empty() {
        return Vec::new();
    }
    match verb {
        CommandVerb::Search
        | CommandVerb::Get
        | CommandVerb::Play
        | CommandVerb::Find
        | CommandVerb::Delete => vec![rest.to_owned()],
        CommandVerb::Register
        | CommandVerb::Unregister
        | CommandVerb::Connect
        | CommandVerb::Content => vec![words::unquoted(rest).to_owned()],
        CommandVerb::Publish | CommandVerb::GetFile => {
            let (first, rest) = words::word(rest);
            [first, words::unquoted(rest)]
                .into_iter()
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect()
        }
        CommandVerb::Join | CommandVerb::Download | CommandVerb::Ls => {
            let (first, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let mut found = match PeerTarget::read(first) {
                Some(PeerTarget { at, speaks: None }) => vec![ip_words(at), at.port().to_string()],
                Some(PeerTarget { at, speaks: Some(speaks) }) => {
                    vec![format!("{}@{}", speaks.as_str(), ip_words(at)), at.port().to_string()]
                }
                None => vec![first.to_owned()],
            };
            let mut tail = tail.trim();
            if found.len() == 1 && !tail.is_empty() {
                let (second, more) = tail.split_once(char::is_whitespace).unwrap_or((tail, ""));
                found.push(second.to_owned());
                tail = more.trim();
            }
            if !tail.is_empty() {
                found.push(tail.to_owned());
            }
            found.truncate(verb.arguments().len());
            found
        }
    }
}

/// An IP address with its interface.
fn ip_words(at: SocketAddr) -> String {
    match at {
        SocketAddr::V6(six) if six.scope_id() != 0 => format!("{}%{}", six.ip(), six.scope_id()),
        at => at.ip().to_string(),
    }
}

fn check(word: &str, argument: Prompt) -> Result<(), Failure> {
    match argument {
        Prompt::Ip => ip(legacy_prefix(word).ok_or(Failure::Wrong("IP"))?.1).map(drop),
        Prompt::Port => port(word).map(drop),
        Prompt::Name => name(word).map(drop),
        Prompt::Goal => DownloadTarget::read(word).map(drop),
        Prompt::User => user(word).map(drop),
        Prompt::Text => text(word).map(drop),
        Prompt::Folder | Prompt::Menu | Prompt::Command | Prompt::Choice | Prompt::Download => {
            Ok(())
        }
    }
}

fn ip(word: &str) -> Result<SocketAddr, Failure> {
    if word.eq_ignore_ascii_case("localhost") {
        return Ok(SocketAddr::from(([127, 0, 0, 1], 0)));
    }
    address::read_ip(word).ok_or(Failure::Wrong("IP"))
}

fn port(word: &str) -> Result<u16, Failure> {
    word.parse().ok().filter(|port| *port != 0).ok_or(Failure::Wrong("1..65535"))
}

fn user(word: &str) -> Result<UserName, Failure> {
    UserName::new(word).map_err(|why| Failure::Name(word.to_owned(), why))
}

fn text(word: &str) -> Result<Line, Failure> {
    Line::new(word).ok_or(Failure::Wrong("0..255 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::file_name::FileName;
    use crate::protocol::types::legacy_profile::LegacyProfile;
    use crate::protocol::types::relative_path::RelativeName;

    fn run(lines: &[&str]) -> Vec<ParsedLine> {
        let mut parser = CommandParser::default();
        lines.iter().map(|line| parser.parse_line(line)).collect()
    }

    fn file(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    #[test]
    fn arguments_may_follow_the_verb() {
        let at: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        assert_eq!(
            run(&["search aula 1.mp4"]),
            [ParsedLine::Do(Command::Search(file("aula 1.mp4")))]
        );
        assert_eq!(
            run(&["GET \"aula 1.mp4\""]),
            [ParsedLine::Do(Command::Get(DownloadTarget::named(file("aula 1.mp4"))))]
        );
        assert_eq!(
            run(&["DOWNLOAD 127.0.0.1 4000"]),
            [ParsedLine::Do(Command::Download(at.into()))]
        );
        assert_eq!(
            run(&["DOWNLOAD 127.0.0.1:4000"]),
            [ParsedLine::Do(Command::Download(at.into()))]
        );
        assert_eq!(
            run(&["ls [::1]:4000"]),
            [ParsedLine::Do(Command::Ls(PeerTarget::read("[::1]:4000").unwrap()))]
        );
        let old = PeerTarget { at, speaks: Some(LegacyProfile::Rede) };
        assert_eq!(run(&["ls rede@127.0.0.1:4000"]), [ParsedLine::Do(Command::Ls(old))]);
        assert_eq!(
            run(&["DOWNLOAD REDE@127.0.0.1 4000"]),
            [ParsedLine::Do(Command::Download(old))]
        );
        let join = Command::Join { at, folder: "a folder/".into() };
        assert_eq!(run(&["JOIN 127.0.0.1 4000 a folder/"]), [ParsedLine::Do(join.clone())]);
        assert_eq!(run(&["1 127.0.0.1:4000 a folder/"]), [ParsedLine::Do(join)]);
    }

    #[test]
    fn missing_arguments_are_prompted_for_line_by_line() {
        let steps = run(&["JOIN", "127.0.0.1", "", "4000", "pasta"]);
        assert_eq!(
            steps[..4],
            [
                ParsedLine::Ask(Prompt::Ip),
                ParsedLine::Ask(Prompt::Port),
                ParsedLine::Ask(Prompt::Port),
                ParsedLine::Ask(Prompt::Folder)
            ]
        );
        assert!(
            matches!(&steps[4], ParsedLine::Do(Command::Join { folder, .. }) if folder == "pasta")
        );
        assert_eq!(run(&["DOWNLOAD", "::1"])[1], ParsedLine::Ask(Prompt::Port));
    }

    #[test]
    fn a_malformed_answer_is_prompted_for_again_and_a_malformed_argument_drops_the_command() {
        let steps = run(&["JOIN", "nowhere", "PEERS"]);
        assert_eq!(
            steps[1..],
            [ParsedLine::Again(Failure::Wrong("IP"), Prompt::Ip), ParsedLine::Do(Command::Peers)]
        );
        for line in [
            "DOWNLOAD 127.0.0.1 0",
            "DOWNLOAD 127.0.0.1 65536",
            "SEARCH ../x",
            "GET a//b",
            "DANCE",
            "LS x",
            "LS x@127.0.0.1:1",
            "JOIN rede@127.0.0.1:4000 x",
        ] {
            assert!(matches!(run(&[line])[0], ParsedLine::Wrong(_)), "{line}");
        }
    }

    #[test]
    fn account_commands_are_parsed() {
        let ana = || UserName::new("ana").unwrap();
        let operate = |user: Option<UserName>, op| ParsedLine::Do(Command::Operate(user, op));
        let line = |text: &str| Line::new(text).unwrap();
        let most = limits::LIST_ENTRIES;
        assert_eq!(run(&["register ana"]), [operate(Some(ana()), AccountOp::Register)]);
        assert_eq!(
            run(&["REGISTER", "ana"]),
            [ParsedLine::Ask(Prompt::User), operate(Some(ana()), AccountOp::Register)]
        );
        assert_eq!(
            run(&["unregister ana"]),
            [ParsedLine::Do(Command::Act(MultiStep::Unregister(ana())))]
        );
        assert_eq!(
            run(&["connect ana"]),
            [operate(Some(ana()), AccountOp::Connect { port: None })]
        );
        assert_eq!(run(&["disconnect"]), [operate(None, AccountOp::Disconnect)]);
        let publish = |file: &str, description: &str| {
            operate(
                None,
                AccountOp::Publish(Publication {
                    file: line(file),
                    description: line(description),
                }),
            )
        };
        assert_eq!(
            run(&["publish a.mp4 the first lesson"]),
            [publish("a.mp4", "the first lesson")]
        );
        assert_eq!(run(&["publish \"a b.mp4\""]), [publish("a b.mp4", "")]);
        assert_eq!(run(&["delete a b.mp4"]), [operate(None, AccountOp::Delete(line("a b.mp4")))]);
        assert_eq!(run(&["users"]), [operate(None, AccountOp::ListUsers { cursor: None, most })]);
        assert_eq!(
            run(&["content ana"]),
            [operate(None, AccountOp::ListContent { of: ana(), cursor: None, most })]
        );
        assert_eq!(
            run(&["find first lesson"]),
            [ParsedLine::Do(Command::Find(
                Box::new(Query::new(QueryTerm::Contains("first lesson".into()))),
                MAX_PROVIDERS
            ))]
        );
        let get = Command::Act(MultiStep::GetFile {
            user: ana(),
            remote: "a b.mp4".into(),
            local: FileName::new("a b.mp4").unwrap().into(),
        });
        assert_eq!(run(&["getfile ana a b.mp4"]), [ParsedLine::Do(get.clone())]);
        assert_eq!(run(&["getfile", "ana", "a b.mp4"])[2], ParsedLine::Do(get));
        for word in ["NODES", "nos", "nodos", "list"] {
            assert_eq!(run(&[word]), [ParsedLine::Do(Command::Act(MultiStep::Nodes))]);
        }
        for wrong in
            ["register ../x", "publish ../x y", "delete a/../b", "getfile ana ../x", "content a/b"]
        {
            assert!(matches!(run(&[wrong])[0], ParsedLine::Wrong(_)), "{wrong}");
        }
    }

    #[test]
    fn a_complete_command_cancels_the_prompt() {
        let mut parser = CommandParser::default();
        assert!(matches!(parser.parse_line("JOIN"), ParsedLine::Ask(_)));
        assert!(matches!(parser.parse_line("nowhere"), ParsedLine::Again(..)));
        assert!(matches!(parser.parse_line("GET a.mp4"), ParsedLine::Do(_)));
        assert!(matches!(parser.parse_line("QUIT"), ParsedLine::Do(Command::Quit)));
    }

    #[test]
    fn verdicts_are_parsed_in_three_languages() {
        for (word, verdict) in [
            ("SIM", true),
            ("nao", false),
            ("NÃO", false),
            ("si", true),
            ("yes", true),
            ("n", false),
        ] {
            assert_eq!(run(&[word]), [ParsedLine::Do(Command::Verdict(verdict))], "{word}");
        }
    }
}
