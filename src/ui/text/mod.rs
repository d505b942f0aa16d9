//! Every text for people. The lines of the specification stay Portuguese; all others exist in three
//! languages, each with a catalog of its own.

mod administration;
pub mod catalog;
pub mod causes;
mod en;
mod es;
mod folders;
mod links;
mod members;
mod pt;
mod transfers;

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::protocol::legacy::onc_rpc::Logged;
use crate::protocol::metric::{Metric, Unit};
use crate::protocol::request::FileEntry;
use crate::protocol::response::{Away, PeerEntry, Provider};
use crate::protocol::types::account::Online;
use crate::protocol::types::address;
use crate::protocol::types::file_name::printable;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::Barred;
use crate::storage::skipped::Note;
use crate::ui::event::{Failure, NameLine, UiEvent, Verdict, Version};
use crate::ui::lang::Lang;
use crate::ui::text::catalog::{Catalog, FolderNote, Notice};

/// The messages of a language.
#[must_use]
pub fn catalog(lang: Lang) -> &'static dyn Catalog {
    match lang {
        Lang::Pt => &pt::Portuguese,
        Lang::Es => &es::Spanish,
        Lang::En => &en::English,
    }
}

/// Where a text belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A line of stdout.
    Line(String),
    /// A line of stderr.
    Note(String),
    /// A line of stdout, and the reason on stderr.
    #[allow(missing_docs)]
    Answer { line: String, note: String },
    /// A question; only a console shows it.
    Prompt(String),
    /// No text; a progress bar may show the event.
    Silent,
}

/// `Peer IP:PORTA adicionado com arquivos a.mp4 b.mp4`; each of `names` follows a space.
#[must_use]
pub fn joined(who: SocketAddr, names: &str) -> String {
    format!("Peer {who} adicionado com arquivos{names}")
}

/// ` a.mp4 b.mp4`, and ` … e mais 12` where names are left out.
fn listed(names: &NameLine, catalog: &dyn Catalog) -> String {
    match names.parts() {
        (names, 0) => names.to_owned(),
        (names, more) => format!("{names} … {}", catalog.more_names(more)),
    }
}

/// `Peer IP:PORTA solicitou arquivo a.mp4`.
#[must_use]
pub fn asked(who: SocketAddr, name: &RelativeName) -> String {
    format!("Peer {who} solicitou arquivo {name}")
}

/// Appends the line of [`asked`] without a formatter, because a server prints many of them.
pub fn put_asked(who: &SocketAddr, name: &RelativeName, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Peer ");
    address::put(who, out);
    out.extend_from_slice(b" solicitou arquivo ");
    out.extend_from_slice(name.as_bytes());
}

/// `Sou peer IP:PORTA com arquivos a.mp4 b.mp4`; each of `names` follows a space.
#[must_use]
pub fn i_am(me: SocketAddr, names: &str) -> String {
    format!("Sou peer {me} com arquivos{names}")
}

/// `peers com arquivo solicitado: IP:PORTA IP:PORTA`.
#[must_use]
pub fn found(holders: &[Provider]) -> String {
    holders.iter().fold(String::from("peers com arquivo solicitado:"), |mut line, holder| {
        let _ = write!(line, " {}", holder.peer);
        line
    })
}

/// `Arquivo a.mp4 baixado com sucesso na pasta PASTA`.
#[must_use]
pub fn saved(name: &RelativeName, folder: &str) -> String {
    format!("Arquivo {} baixado com sucesso na pasta {folder}", name.file())
}

/// `a.mp4: OK`, as `b3sum --check` prints; `unknown` without a root to compare.
#[must_use]
pub fn verified(name: &RelativeName, verdict: Verdict) -> String {
    let word = match verdict {
        Verdict::Right => "OK",
        Verdict::Failed => "FAILED",
        Verdict::Unknown => "unknown",
        Verdict::Missing => "missing",
    };
    format!("{name}: {word}")
}

/// `user<TAB>OPERATION file<TAB>date`, as UC3M logs operations. The names are unchecked, so control
/// characters are escaped.
#[must_use]
pub fn logged(logged: &Logged) -> String {
    let Logged { user, operation, file, date } = logged;
    let file = file.as_deref().map(|file| format!(" {}", printable(file))).unwrap_or_default();
    format!("{}\t{}{file}\t{}", printable(user), printable(operation), printable(date))
}

fn figure(figure: &Metric) -> String {
    let of = figure.of.as_deref().map(|of| format!(" {of}")).unwrap_or_default();
    let value = match figure.unit {
        Unit::Count => figure.value.to_string(),
        Unit::Bytes => size(Some(figure.value)),
        Unit::Nanoseconds => format!("{:?}", Duration::from_nanos(figure.value)),
    };
    format!("{}{of}\t{value}", figure.name)
}

/// One line a content: its number, root, size and providers.
fn choice(contents: &[Version]) -> String {
    let holders = |version: &Version| {
        version.holders.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let rows = contents.iter().zip(1..).map(|(version, number)| {
        format!("{number}\tb3:{}\t{}\t{}", version.root, version.size, holders(version))
    });
    rows.collect::<Vec<_>>().join("\n")
}

/// An event in words.
#[must_use]
pub fn say(report: &UiEvent, lang: Lang) -> Output {
    let catalog = catalog(lang);
    let notice = |notice: Notice| Output::Note(catalog.notice(&notice));
    match report {
        UiEvent::Joined { who, names } => Output::Line(joined(*who, &listed(names, catalog))),
        #[cfg(feature = "loadgen")]
        UiEvent::Bench(news) => Output::Line(news.say(lang)),
        UiEvent::Asked { who, name } => Output::Line(asked(*who, name)),
        UiEvent::Logged(logged) => Output::Line(self::logged(logged)),
        UiEvent::IAm { me, names } => Output::Line(i_am(*me, &listed(names, catalog))),
        UiEvent::Found { holders, .. } => {
            let contents = Version::among(holders);
            // The specification has one line; further lines only when one name has several
            // contents.
            Output::Line(if contents.len() > 1 {
                format!("{}\n{}", found(holders), choice(&contents))
            } else {
                found(holders)
            })
        }
        UiEvent::Saved { name, folder, .. } => Output::Line(saved(name, folder)),
        UiEvent::Playing { url, .. } | UiEvent::Web { url } => Output::Line(url.clone()),
        UiEvent::Choice { contents, .. } => Output::Line(choice(contents)),
        UiEvent::Verified { name, verdict, .. } => Output::Line(verified(name, *verdict)),
        UiEvent::Peers(peers) => {
            let row = |p: &PeerEntry| {
                format!(
                    "{}\t{}{}",
                    p.peer,
                    p.files,
                    tail([p.user.as_deref(), p.speaks.map(LegacyProfile::as_str)])
                )
            };
            rows(peers.iter().map(row))
        }
        UiEvent::Files { files, .. } => {
            let row = |f: &FileEntry| {
                format!(
                    "{}\t{}\t{}{}",
                    size(f.size),
                    f.name,
                    state(f),
                    tail([f.description.as_deref(), None])
                )
            };
            rows(files.iter().map(row))
        }
        UiEvent::Node { peer, files } => {
            let head = format!(
                "{}\t{}{}",
                peer.peer,
                peer.files,
                tail([peer.user.as_deref(), peer.speaks.map(LegacyProfile::as_str)])
            );
            let row = |f: &FileEntry| {
                format!(
                    "  {}\t{}\t{}{}",
                    size(f.size),
                    f.name,
                    state(f),
                    tail([f.description.as_deref(), None])
                )
            };
            rows(std::iter::once(head).chain(files.iter().map(row)))
        }
        UiEvent::Users(users) => rows(users.iter().map(online)),
        UiEvent::Appeared(of) => Output::Line(format!("+\t{}", holder(of))),
        UiEvent::Gone { peer, name } => Output::Line(format!("-\t{peer}\t\t{name}")),
        // The histogram is for programs; people read its quantiles.
        UiEvent::Figures(figures) => rows(
            figures
                .iter()
                .filter(|figure| !figure.name.starts_with("loop_iteration_seconds"))
                .map(figure),
        ),
        UiEvent::Content { files, .. } => {
            rows(files.iter().map(|file| format!("{}\t{}", file.file, file.description)))
        }
        UiEvent::Holders(holders) => rows(holders.iter().map(holder)),
        // The columns of a provider, without an address and a size.
        UiEvent::Away(files) => {
            let row = |f: &Away| {
                format!("-\t-\t{}\taway{}", f.name, tail([f.description.as_deref(), Some(&f.user)]))
            };
            rows(files.iter().map(row))
        }
        UiEvent::Member(event) => members::say(event, lang),
        UiEvent::Link(event) => links::say(event, lang),
        UiEvent::Control(answer) => transfers::say(answer, lang),
        UiEvent::Folder(event) => folders::say(event, lang),
        UiEvent::Preview(preview) => folders::preview(preview, lang),
        UiEvent::Done(method) => Output::Line(format!("{}_OK", method.as_str())),
        UiEvent::OldPort { at, speaks } if speaks.has_users() => {
            Output::Line(format!("s> init server {at}"))
        }
        UiEvent::Operation { user, method, speaks } if speaks.logs_operations() => {
            Output::Line(format!("s> OPERATION {} FROM {user}", method.as_str()))
        }
        UiEvent::Operation { user, .. } => Output::Line(format!("s> OPERATION FROM {user}")),
        UiEvent::Progress { .. }
        | UiEvent::Verifying { .. }
        | UiEvent::At(_)
        | UiEvent::ByQuic(_)
        | UiEvent::Uploaded { .. }
        | UiEvent::Stopped(_) => Output::Silent,
        UiEvent::Prompt(prompt) => Output::Prompt(catalog.prompt(*prompt).to_owned()),
        UiEvent::Failed(failure) => Output::Note(failed(failure, lang)),
        UiEvent::Stalled { name, why } => {
            Output::Note(format!("{name}: {}", catalog.wait_reason(why)))
        }
        UiEvent::PortFailed { at, why } => {
            Output::Note(failed(&Failure::Port(*at, why.clone()), lang))
        }
        UiEvent::OldPort { at, speaks } | UiEvent::LegacyPort { at, speaks } => {
            Output::Note(format!("{} {at}", speaks.as_str()))
        }
        UiEvent::OfShare { folder, note } => {
            Output::Note(catalog.folder_note(folder, &folder_note(note, lang)))
        }
        UiEvent::NotKept { name, why } => {
            notice(Notice::NotKept { name, why: &reworded(why, lang) })
        }
        UiEvent::TcpTakesOver { udp, why, .. } => {
            notice(Notice::TcpTakesOver { udp: *udp, why: &reworded(why, lang) })
        }
        UiEvent::ServerLost { server, why } => {
            notice(Notice::ServerLost { server: *server, why: &reworded(why, lang) })
        }
        UiEvent::Listening(at) => notice(Notice::Listening(*at)),
        UiEvent::AlreadyJoined(at) => notice(Notice::AlreadyJoined(*at)),
        UiEvent::NotHere(file) => notice(Notice::NotHere(file)),
        UiEvent::Left => notice(Notice::Left),
        UiEvent::Begun { name, from, held: 0, .. } => notice(Notice::Begun { name, from: *from }),
        UiEvent::Begun { name, from, held, size } => {
            notice(Notice::Resumed { name, from: *from, held: *held, size: *size })
        }
        UiEvent::Unverified { name, folder, is_sized, .. } => {
            notice(Notice::Unverified { name, folder, is_sized: *is_sized })
        }
        UiEvent::PlayerEnded { player, name } => notice(Notice::PlayerEnded { player, name }),
        UiEvent::Unproven(name) => notice(Notice::Unproven(name)),
        UiEvent::Blamed { name, who } => notice(Notice::Blamed { name, who: *who }),
        UiEvent::Same { name } => notice(Notice::Same(name)),
        UiEvent::Mismatched { failed, of } => {
            notice(Notice::Mismatched { failed: *failed, of: *of })
        }
        UiEvent::Restarted(name) => notice(Notice::Restarted(name)),
        UiEvent::ServerFound(server) => notice(Notice::ServerFound(*server)),
        UiEvent::MoreFound => notice(Notice::MoreFound),
        UiEvent::Incomplete => notice(Notice::Incomplete),
        UiEvent::Consent { who, name } => notice(Notice::Consent { who: *who, name }),
        UiEvent::ConsentExpired(name) => notice(Notice::ConsentExpired(name)),
        UiEvent::Drop(event) => notice(Notice::Drop(event)),
        UiEvent::Help => Output::Note(catalog.help().to_owned()),
    }
}

/// The rows as one text; silent when there are none.
fn rows(rows: impl Iterator<Item = String>) -> Output {
    let rows: Vec<String> = rows.collect();
    if rows.is_empty() { Output::Silent } else { Output::Line(rows.join("\n")) }
}

/// The optional columns at the end of a row.
fn tail(more: [Option<&str>; 2]) -> String {
    more.iter().flatten().fold(String::new(), |tail, word| tail + "\t" + word)
}

/// The user, the address, and the legacy protocol if any.
fn online(online: &Online) -> String {
    let peer = online.peer.map_or_else(|| "-".to_owned(), |peer| peer.to_string());
    format!("{}\t{peer}{}", online.user, tail([online.speaks.map(LegacyProfile::as_str), None]))
}

/// The peer, the size, the name, the description and the legacy protocol if any.
fn holder(holder: &Provider) -> String {
    format!(
        "{}\t{}\t{}{}",
        holder.peer,
        size(holder.file.size),
        holder.file.name,
        tail([holder.file.description.as_deref(), holder.speaks.map(LegacyProfile::as_str)])
    )
}

/// The state of a file in lists.
#[must_use]
pub fn state(file: &FileEntry) -> &'static str {
    match file {
        FileEntry { partial: true, .. } => "partial",
        FileEntry { size: None, .. } => "published",
        FileEntry { root: None, .. } => "hashing",
        FileEntry { .. } => "hashed",
    }
}

/// The note with its counts in words.
fn folder_note(note: &Note, lang: Lang) -> FolderNote {
    match note {
        Note::LeftOut(left_out) => {
            let reasons = left_out
                .iter()
                .map(|(why, count)| format!("{count} {}", catalog(lang).barred(*why)));
            FolderNote::LeftOut {
                total: left_out.values().sum(),
                reasons: reasons.collect::<Vec<_>>().join(", "),
            }
        }
        Note::Missing => FolderNote::Missing,
        Note::Back => FolderNote::Back,
        Note::Blind(blind) => FolderNote::Blind(*blind),
    }
}

/// A failure, in one line.
#[must_use]
pub fn failed(failure: &Failure, lang: Lang) -> String {
    let mut failure = failure.clone();
    reword_cause(&mut failure, lang);
    catalog(lang).failure(&failure)
}

/// Puts the cause of a failure in words of `lang`.
fn reword_cause(failure: &mut Failure, lang: Lang) {
    match failure {
        Failure::Named(_, inner) => reword_cause(inner, lang),
        Failure::NoHost(_, why)
        | Failure::Disk(why)
        | Failure::Port(_, why)
        | Failure::Player(_, why) => *why = reworded(why, lang),
        _ => {}
    }
}

/// The cause of `error`.
#[must_use]
pub fn cause(error: &io::Error, lang: Lang) -> String {
    reworded(&error.to_string(), lang)
}

/// `text` with its known causes in words of `lang`.
#[must_use]
pub fn reworded(text: &str, lang: Lang) -> String {
    causes::reworded(text, catalog(lang))
}

/// The key of a reason in the output for programs.
#[must_use]
pub fn barred_key(why: Barred) -> &'static str {
    match why {
        Barred::Name => "name",
        Barred::Encoding => "encoding",
        Barred::Deep => "deep",
        Barred::Hidden => "hidden",
        Barred::Partial => "partial",
        Barred::Kind => "kind",
        Barred::Unreadable => "unreadable",
        Barred::Secret => "secret",
        Barred::Ours => "state",
        Barred::Excluded => "excluded",
    }
}

/// The size in bytes, or `?`.
#[must_use]
pub fn size(size: Option<u64>) -> String {
    size.map_or_else(|| "?".to_owned(), |size| size.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::error::{CODES, ErrorCode, ErrorReply};
    use crate::storage::skipped::LeftOut;

    fn name() -> RelativeName {
        RelativeName::new("aula1.mp4").unwrap()
    }

    #[test]
    fn the_lines_of_the_specification_are_exact() {
        let who: SocketAddr = "127.0.0.1:8776".parse().unwrap();
        assert_eq!(
            joined(who, " aula1.mp4 aula2.mp4"),
            "Peer 127.0.0.1:8776 adicionado com arquivos aula1.mp4 aula2.mp4"
        );
        let named = |count: usize, takes_all: bool| {
            let names: Vec<RelativeName> = (0..count)
                .map(|at| RelativeName::new(&format!("{at:0>200}.mp4")).expect("a name"))
                .collect();
            let all: String = names.iter().map(|name| format!(" {name}")).collect();
            (NameLine::of(&names, takes_all), all)
        };
        let line = |names: NameLine, lang| say(&UiEvent::Joined { who, names }, lang);
        let start = "Peer 127.0.0.1:8776 adicionado com arquivos";
        for (count, takes_all) in
            [(0, false), (1, false), (100, false), (101, true), (10_000, true)]
        {
            let (names, all) = named(count, takes_all);
            assert_eq!(line(names, Lang::En), Output::Line(format!("{start}{all}")));
        }
        let (_, hundred) = named(100, true);
        for (count, lang, more) in [
            (101, Lang::Pt, "e mais 1"),
            (101, Lang::Es, "y 1 más"),
            (10_000, Lang::En, "and 9900 more"),
        ] {
            let (names, _) = named(count, false);
            assert_eq!(
                line(names.clone(), lang),
                Output::Line(format!("{start}{hundred} … {more}"))
            );
            let own = format!("Sou peer {who} com arquivos{hundred} … {more}");
            assert_eq!(say(&UiEvent::IAm { me: who, names }, lang), Output::Line(own));
        }
        assert_eq!(asked(who, &name()), "Peer 127.0.0.1:8776 solicitou arquivo aula1.mp4");
        assert_eq!(
            i_am(who, " aula1.mp4 aula2.mp4"),
            "Sou peer 127.0.0.1:8776 com arquivos aula1.mp4 aula2.mp4"
        );
        let file = FileEntry::new(name(), 1);
        let holder = Provider { peer: who, file, user: None, speaks: None, quic: None, key: None };
        assert_eq!(
            found(&[holder.clone(), holder]),
            "peers com arquivo solicitado: 127.0.0.1:8776 127.0.0.1:8776"
        );
        assert_eq!(found(&[]), "peers com arquivo solicitado:");
        assert_eq!(
            saved(&name(), "./pasta/"),
            "Arquivo aula1.mp4 baixado com sucesso na pasta ./pasta/"
        );
    }

    #[test]
    fn a_peer_is_listed_above_its_files() {
        let peer = PeerEntry {
            peer: "127.0.0.1:8776".parse().unwrap(),
            files: 1,
            user: None,
            speaks: Some(LegacyProfile::Rede),
        };
        let node = UiEvent::Node { peer, files: vec![FileEntry::new(name(), 1)] };
        assert_eq!(
            say(&node, Lang::Pt),
            Output::Line("127.0.0.1:8776\t1\trede\n  1\taula1.mp4\thashing".into())
        );
    }

    #[test]
    fn every_language_lists_all_commands() {
        for lang in [Lang::Pt, Lang::Es, Lang::En] {
            let help = catalog(lang).help();
            for command in crate::client::console::napster::COMMANDS
                .iter()
                .filter(|command| !["HELP", "SIM", "NODES"].contains(command))
            {
                assert!(help.contains(command), "{command}");
            }
        }
    }

    #[test]
    fn an_error_reply_keeps_its_code_in_three_languages() {
        let words = |reply: &ErrorReply, lang| failed(&Failure::Refused(reply.clone()), lang);
        let taken = ErrorReply::new(ErrorCode::Taken, "whatever");
        assert_eq!(words(&taken, Lang::Pt), "recusado: o nome já é de alguém (taken)");
        assert_eq!(words(&taken, Lang::Es), "rechazado: el nombre ya es de alguien (taken)");
        assert_eq!(words(&taken, Lang::En), "refused: somebody has that name already (taken)");
        let failed = ErrorReply::new(ErrorCode::Io, "the store failed");
        assert_eq!(
            words(&failed, Lang::Pt),
            "recusado: o disco do outro lado falhou (io: the store failed)"
        );
        assert_eq!(words(&failed, Lang::En), "refused: the store failed (io)");
        for (code, word) in CODES {
            let reply = ErrorReply::new(code, "why");
            let lines = [Lang::Pt, Lang::Es, Lang::En].map(|lang| words(&reply, lang));
            assert!(
                lines[0] != lines[1] && lines.iter().all(|line| line.contains(&format!("({word}"))),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn a_folder_note_counts_the_files_that_are_not_shared_by_reason() {
        let left_out = LeftOut::from([(Barred::Hidden, 2), (Barred::Secret, 1)]);
        let say = |note, lang| say(&UiEvent::OfShare { folder: "pasta".into(), note }, lang);
        assert_eq!(
            say(Note::LeftOut(left_out), Lang::En),
            Output::Note(
                "pasta: 3 not shared: 2 hidden, 1 secret key (cardume ls --skipped says which)"
                    .into()
            )
        );
        assert_ne!(say(Note::Missing, Lang::Pt), say(Note::Back, Lang::Pt));
    }

    #[test]
    fn the_lines_of_the_specification_are_the_same_in_every_language() {
        let report = UiEvent::Saved {
            name: name(),
            folder: "x".into(),
            size: 1,
            from: "127.0.0.1:1".parse().unwrap(),
            root: None,
        };
        assert_eq!(say(&report, Lang::Pt), say(&report, Lang::En));
        assert_ne!(say(&UiEvent::Left, Lang::Pt), say(&UiEvent::Left, Lang::En));
    }
}
