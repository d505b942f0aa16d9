//! From lines to commands: what a person types or a script pipes, with arguments on the same line or, when missing, asked for one a line.

use std::net::SocketAddr;

use crate::message::account::{Deed, Line, Publication, UserName};
use crate::message::address;
use crate::message::limits;
use crate::message::name::BadName;
use crate::message::query::{Query, Sought};
use crate::message::relative::{ROOT_PREFIX, RelativeName};
use crate::message::request::Wanted;
use crate::message::tongue::Tongue;
use crate::message::version::Root;
use crate::node::consoles;
use crate::node::peer::acts::Act;
use crate::node::peer::errands::FOUND;
use crate::node::peer::verifying::Checked;
use crate::node::report::{Failure, Prompt};

/// What is to be fetched: a name, a content, or a name that must have this content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Goal {
    /// Its name.
    pub name: Option<RelativeName>,
    /// What its bytes must lead to.
    pub root: Option<Root>,
}

impl Goal {
    /// The file of this name, whatever its content.
    #[must_use]
    pub fn named(name: RelativeName) -> Goal {
        Goal { name: Some(name), root: None }
    }

    /// Reads `NAME`, `b3:ROOT` or `NAME b3:ROOT`.
    ///
    /// # Errors
    /// When the name or the root is none.
    pub fn read(text: &str) -> Result<Goal, Failure> {
        let (front, last) = text.rsplit_once(char::is_whitespace).unwrap_or(("", text));
        let Some(digits) = last.strip_prefix(ROOT_PREFIX) else { return Ok(Goal::named(name(text)?)) };
        let root = Root::parse(digits).ok_or_else(|| Failure::Root(crate::message::name::printable(last)))?;
        let name = if front.trim().is_empty() { None } else { Some(name(front.trim())?) };
        Ok(Goal { name, root: Some(root) })
    }

    /// How it is searched.
    #[must_use]
    pub fn wanted(&self) -> Option<Wanted> {
        match (&self.name, self.root) {
            (_, Some(root)) => Some(Wanted::Root(root)),
            (Some(name), None) => Some(Wanted::Name(name.clone())),
            (None, None) => None,
        }
    }

    /// What it is called.
    #[must_use]
    pub fn called(&self) -> RelativeName {
        self.name.clone().or_else(|| self.root.as_ref().map(RelativeName::of_root)).unwrap_or_else(|| RelativeName::of_root(&Root([0; 32])))
    }
}

/// Where a peer answers, and what is spoken there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub at: SocketAddr,
    /// The old wire that has to be spoken; `None`: the native protocol.
    pub speaks: Option<Tongue>,
}

impl Place {
    /// Reads `IP:PORT` or `WIRE@IP:PORT`.
    #[must_use]
    pub fn read(text: &str) -> Option<Place> {
        let (speaks, rest) = wire(text)?;
        Some(Place { at: rest.parse().ok()?, speaks })
    }
}

impl From<SocketAddr> for Place {
    fn from(at: SocketAddr) -> Place {
        Place { at, speaks: None }
    }
}

/// The wire in front of an address, if one is named; `None` for one that nobody knows.
fn wire(text: &str) -> Option<(Option<Tongue>, &str)> {
    match text.split_once('@') {
        None => Some((None, text)),
        Some((word, rest)) => Tongue::of_word(&word.to_ascii_lowercase()).map(|speaks| (Some(speaks), rest)),
    }
}

/// A command with all its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Enter the network from this address, sharing this folder.
    Join {
        /// Where to listen.
        at: SocketAddr,
        /// What to share, as it was given.
        folder: String,
    },
    /// Who has this file?
    Search(RelativeName),
    /// Fetch the file last searched from there.
    Download(Place),
    /// Search and fetch.
    Get(Goal),
    /// Search and fetch, and play it meanwhile.
    Play(Goal),
    /// Fetch from this very source, asking no server.
    GetFrom(Goal, Place),
    /// Are these files what the index says?
    Verify {
        /// Which.
        what: Vec<Checked>,
        /// What the one file must be, whatever the index says.
        root: Option<Root>,
    },
    /// Whose files are like this? And how many of them are shown at most.
    Find(Box<Query>, usize),
    /// Something about accounts, for this user or for whoever we are.
    Operate(Option<UserName>, Deed),
    /// Something that may take several requests.
    Act(Act),
    /// Who is there?
    Peers,
    /// What does this peer share?
    Ls(Place),
    /// Leave the network.
    Leave,
    /// End, when running downloads have.
    Quit,
    /// List the commands.
    Help,
    /// Yes or no to whoever asks first.
    Verdict(bool),
}

/// What a line came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A command.
    Do(Command),
    /// An argument is missing: the next line is it.
    Ask(Prompt),
    /// It makes no sense; what was begun is dropped.
    Wrong(Failure),
    /// The answer to a question makes no sense: it is asked again.
    Again(Failure, Prompt),
    /// An empty line.
    Nothing,
}

/// Turns lines into commands.
#[derive(Debug, Default)]
pub struct Desk {
    form: Option<Form>,
}

/// A command whose arguments come one by one.
#[derive(Debug)]
struct Form {
    verb: Verb,
    words: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
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

impl Verb {
    /// What it needs, in order.
    fn wants(self) -> &'static [Prompt] {
        match self {
            Verb::Join => &[Prompt::Ip, Prompt::Port, Prompt::Folder],
            Verb::Search | Verb::Publish | Verb::Delete => &[Prompt::Name],
            Verb::Find => &[Prompt::Text],
            Verb::Register | Verb::Unregister | Verb::Connect | Verb::Content => &[Prompt::User],
            Verb::GetFile => &[Prompt::User, Prompt::Name],
            Verb::Get | Verb::Play => &[Prompt::Goal],
            Verb::Download | Verb::Ls => &[Prompt::Ip, Prompt::Port],
        }
    }
}

impl Desk {
    /// Takes one line.
    pub fn line(&mut self, line: &str) -> Step {
        let line = line.trim();
        if let Some(mut form) = self.form.take() {
            if line.is_empty() {
                let prompt = form.verb.wants()[form.words.len()];
                self.form = Some(form);
                return Step::Ask(prompt);
            }
            let prompt = form.verb.wants()[form.words.len()];
            if let Err(failure) = check(line, prompt) {
                self.form = Some(form);
                return Step::Again(failure, prompt);
            }
            form.words.push(line.to_owned());
            return self.fill(form);
        }
        let (verb, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let verb = match verb.to_uppercase().as_str() {
            "" => return Step::Nothing,
            "JOIN" | "1" => Verb::Join,
            "SEARCH" | "2" => Verb::Search,
            "DOWNLOAD" | "3" => Verb::Download,
            "GET" => Verb::Get,
            "PLAY" => Verb::Play,
            "LS" => Verb::Ls,
            "FIND" => Verb::Find,
            "REGISTER" => Verb::Register,
            "UNREGISTER" => Verb::Unregister,
            "CONNECT" => Verb::Connect,
            "PUBLISH" => Verb::Publish,
            "DELETE" => Verb::Delete,
            "CONTENT" | "LIST_CONTENT" => Verb::Content,
            "GETFILE" | "GET_FILE" => Verb::GetFile,
            "DISCONNECT" => return Step::Do(Command::Operate(None, Deed::Disconnect)),
            "USERS" | "LIST_USERS" => return Step::Do(Command::Operate(None, Deed::ListUsers { cursor: None, most: limits::LIST_ENTRIES })),
            // Seed 004 §5.1: the nodes and their files.
            "NODES" | "LIST" | "NOS" | "NÓS" | "NODOS" => return Step::Do(Command::Act(Act::Nodes)),
            "PEERS" => return Step::Do(Command::Peers),
            "LEAVE" => return Step::Do(Command::Leave),
            "QUIT" | "EXIT" => return Step::Do(Command::Quit),
            "HELP" | "?" => return Step::Do(Command::Help),
            "SIM" | "S" | "SI" | "SÍ" | "YES" | "Y" => return Step::Do(Command::Verdict(true)),
            "NAO" | "NÃO" | "N" | "NO" => return Step::Do(Command::Verdict(false)),
            _ => return Step::Wrong(Failure::Unknown(crate::message::name::printable(verb))),
        };
        self.fill(Form { verb, words: words(verb, rest.trim()) })
    }

    /// True while the next line answers a question.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.form.is_some()
    }

    /// Drops the command that a question belongs to.
    pub fn cancel(&mut self) {
        self.form = None;
    }

    /// The verdict that a line gives, if it is one: it may pass other commands, for somebody waits for it.
    #[must_use]
    pub fn verdict(line: &str) -> Option<bool> {
        match Desk::default().line(line) {
            Step::Do(Command::Verdict(yes)) => Some(yes),
            _ => None,
        }
    }

    /// Makes a command of a form that is complete, or asks on. What is wrong already is said at once.
    fn fill(&mut self, form: Form) -> Step {
        let wants = form.verb.wants();
        for (word, want) in form.words.iter().zip(wants) {
            if let Err(failure) = check(word, *want) {
                return Step::Wrong(failure);
            }
        }
        if let Some(prompt) = wants.get(form.words.len()) {
            let prompt = *prompt;
            self.form = Some(form);
            return Step::Ask(prompt);
        }
        match form.command() {
            Ok(command) => Step::Do(command),
            Err(failure) => Step::Wrong(failure),
        }
    }
}

impl Form {
    fn command(&self) -> Result<Command, Failure> {
        let word = |place: usize| self.words.get(place).map_or("", String::as_str);
        let with_port = |mut at: SocketAddr, port| {
            at.set_port(port);
            at
        };
        let address = || Ok(with_port(ip(word(0))?, port(word(1))?));
        let place = || {
            let (speaks, rest) = wire(word(0)).ok_or(Failure::Wrong("IP"))?;
            Ok(Place { at: with_port(ip(rest)?, port(word(1))?), speaks })
        };
        Ok(match self.verb {
            Verb::Join => Command::Join { at: address()?, folder: word(2).to_owned() },
            Verb::Search => Command::Search(name(word(0))?),
            Verb::Get => Command::Get(Goal::read(word(0))?),
            Verb::Play => Command::Play(Goal::read(word(0))?),
            Verb::Download => Command::Download(place()?),
            Verb::Ls => Command::Ls(place()?),
            Verb::Find => Command::Find(Box::new(Query::new(Sought::Contains(text(word(0))?.to_string()))), FOUND),
            Verb::Register => Command::Operate(Some(user(word(0))?), Deed::Register),
            Verb::Unregister => Command::Act(Act::Unregister(user(word(0))?)),
            Verb::Connect => Command::Operate(Some(user(word(0))?), Deed::Connect { port: None }),
            Verb::Publish => Command::Operate(None, Deed::Publish(Publication { file: published(word(0))?, description: text(word(1))? })),
            Verb::Delete => Command::Operate(None, Deed::Delete(published(word(0))?)),
            Verb::Content => Command::Operate(None, Deed::ListContent { of: user(word(0))?, cursor: None, most: limits::LIST_ENTRIES }),
            Verb::GetFile => {
                let remote = name(word(1))?;
                let local = remote.file();
                Command::Act(Act::GetFile { user: user(word(0))?, remote: remote.to_string(), local })
            }
        })
    }
}

/// Arguments on the verb's own line. A name or a folder is all that is left, blanks included; `IP:PORT` counts as two.
fn words(verb: Verb, rest: &str) -> Vec<String> {
    if rest.is_empty() {
        return Vec::new();
    }
    match verb {
        Verb::Search | Verb::Get | Verb::Play | Verb::Find | Verb::Delete => vec![rest.to_owned()],
        Verb::Register | Verb::Unregister | Verb::Connect | Verb::Content => vec![consoles::unquoted(rest).to_owned()],
        Verb::Publish | Verb::GetFile => {
            let (first, rest) = consoles::word(rest);
            [first, consoles::unquoted(rest)].into_iter().filter(|word| !word.is_empty()).map(str::to_owned).collect()
        }
        Verb::Join | Verb::Download | Verb::Ls => {
            let (first, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let mut found = match Place::read(first) {
                Some(Place { at, speaks: None }) => vec![ip_words(at), at.port().to_string()],
                Some(Place { at, speaks: Some(speaks) }) => vec![format!("{}@{}", speaks.word(), ip_words(at)), at.port().to_string()],
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
            found.truncate(verb.wants().len());
            found
        }
    }
}

/// An IP, with its interface.
fn ip_words(at: SocketAddr) -> String {
    match at {
        SocketAddr::V6(six) if six.scope_id() != 0 => format!("{}%{}", six.ip(), six.scope_id()),
        at => at.ip().to_string(),
    }
}

fn check(word: &str, want: Prompt) -> Result<(), Failure> {
    match want {
        Prompt::Ip => ip(wire(word).ok_or(Failure::Wrong("IP"))?.1).map(drop),
        Prompt::Port => port(word).map(drop),
        Prompt::Name => name(word).map(drop),
        Prompt::Goal => Goal::read(word).map(drop),
        Prompt::User => user(word).map(drop),
        Prompt::Text => text(word).map(drop),
        Prompt::Folder | Prompt::Menu | Prompt::Command | Prompt::Choice => Ok(()),
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

fn published(word: &str) -> Result<Line, Failure> {
    let file = name(word)?;
    Line::new(&file).ok_or_else(|| Failure::Name(word.to_owned(), BadName::Long))
}

fn text(word: &str) -> Result<Line, Failure> {
    Line::new(word).ok_or(Failure::Wrong("0..255 bytes"))
}

fn name(word: &str) -> Result<RelativeName, Failure> {
    // Names with blanks may be quoted, as Tab completion does.
    let word = word.strip_prefix('"').and_then(|w| w.strip_suffix('"')).unwrap_or(word);
    RelativeName::new(word).map_err(|why| Failure::Name(word.to_owned(), why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::name::FileName;

    fn run(lines: &[&str]) -> Vec<Step> {
        let mut desk = Desk::default();
        lines.iter().map(|line| desk.line(line)).collect()
    }

    fn file(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    #[test]
    fn arguments_may_stand_on_the_same_line() {
        let at: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        assert_eq!(run(&["search aula 1.mp4"]), [Step::Do(Command::Search(file("aula 1.mp4")))]);
        assert_eq!(run(&["GET \"aula 1.mp4\""]), [Step::Do(Command::Get(Goal::named(file("aula 1.mp4"))))]);
        assert_eq!(run(&["DOWNLOAD 127.0.0.1 4000"]), [Step::Do(Command::Download(at.into()))]);
        assert_eq!(run(&["DOWNLOAD 127.0.0.1:4000"]), [Step::Do(Command::Download(at.into()))]);
        assert_eq!(run(&["ls [::1]:4000"]), [Step::Do(Command::Ls(Place::read("[::1]:4000").unwrap()))]);
        let old = Place { at, speaks: Some(Tongue::Rede) };
        assert_eq!(run(&["ls rede@127.0.0.1:4000"]), [Step::Do(Command::Ls(old))]);
        assert_eq!(run(&["DOWNLOAD REDE@127.0.0.1 4000"]), [Step::Do(Command::Download(old))]);
        let join = Command::Join { at, folder: "a folder/".into() };
        assert_eq!(run(&["JOIN 127.0.0.1 4000 a folder/"]), [Step::Do(join.clone())]);
        assert_eq!(run(&["1 127.0.0.1:4000 a folder/"]), [Step::Do(join)]);
    }

    #[test]
    fn what_is_missing_is_asked_for_one_a_line() {
        let steps = run(&["JOIN", "127.0.0.1", "", "4000", "pasta"]);
        assert_eq!(steps[..4], [Step::Ask(Prompt::Ip), Step::Ask(Prompt::Port), Step::Ask(Prompt::Port), Step::Ask(Prompt::Folder)]);
        assert!(matches!(&steps[4], Step::Do(Command::Join { folder, .. }) if folder == "pasta"));
        assert_eq!(run(&["DOWNLOAD", "::1"])[1], Step::Ask(Prompt::Port));
    }

    #[test]
    fn a_wrong_answer_is_asked_for_again_and_a_wrong_argument_drops_what_was_begun() {
        let steps = run(&["JOIN", "nowhere", "PEERS"]);
        assert_eq!(steps[1..], [Step::Again(Failure::Wrong("IP"), Prompt::Ip), Step::Again(Failure::Wrong("IP"), Prompt::Ip)]);
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
            assert!(matches!(run(&[line])[0], Step::Wrong(_)), "{line}");
        }
    }

    #[test]
    fn users_have_their_commands_here_too() {
        let ana = || UserName::new("ana").unwrap();
        let operate = |user: Option<UserName>, deed| Step::Do(Command::Operate(user, deed));
        let line = |text: &str| Line::new(text).unwrap();
        let most = limits::LIST_ENTRIES;
        assert_eq!(run(&["register ana"]), [operate(Some(ana()), Deed::Register)]);
        assert_eq!(run(&["REGISTER", "ana"]), [Step::Ask(Prompt::User), operate(Some(ana()), Deed::Register)]);
        assert_eq!(run(&["unregister ana"]), [Step::Do(Command::Act(Act::Unregister(ana())))]);
        assert_eq!(run(&["connect ana"]), [operate(Some(ana()), Deed::Connect { port: None })]);
        assert_eq!(run(&["disconnect"]), [operate(None, Deed::Disconnect)]);
        let publish = |file: &str, description: &str| operate(None, Deed::Publish(Publication { file: line(file), description: line(description) }));
        assert_eq!(run(&["publish a.mp4 the first lesson"]), [publish("a.mp4", "the first lesson")]);
        assert_eq!(run(&["publish \"a b.mp4\""]), [publish("a b.mp4", "")]);
        assert_eq!(run(&["delete a b.mp4"]), [operate(None, Deed::Delete(line("a b.mp4")))]);
        assert_eq!(run(&["users"]), [operate(None, Deed::ListUsers { cursor: None, most })]);
        assert_eq!(run(&["content ana"]), [operate(None, Deed::ListContent { of: ana(), cursor: None, most })]);
        assert_eq!(run(&["find first lesson"]), [Step::Do(Command::Find(Box::new(Query::new(Sought::Contains("first lesson".into()))), FOUND))]);
        let get = Command::Act(Act::GetFile { user: ana(), remote: "a b.mp4".into(), local: FileName::new("a b.mp4").unwrap() });
        assert_eq!(run(&["getfile ana a b.mp4"]), [Step::Do(get.clone())]);
        assert_eq!(run(&["getfile", "ana", "a b.mp4"])[2], Step::Do(get));
        for word in ["NODES", "nos", "nodos", "list"] {
            assert_eq!(run(&[word]), [Step::Do(Command::Act(Act::Nodes))]);
        }
        for wrong in ["register ../x", "publish ../x y", "delete a/../b", "getfile ana ../x", "content a/b"] {
            assert!(matches!(run(&[wrong])[0], Step::Wrong(_)), "{wrong}");
        }
    }

    #[test]
    fn verdicts_are_understood_in_three_languages() {
        for (word, verdict) in [("SIM", true), ("nao", false), ("NÃO", false), ("si", true), ("yes", true), ("n", false)] {
            assert_eq!(run(&[word]), [Step::Do(Command::Verdict(verdict))], "{word}");
        }
    }
}
