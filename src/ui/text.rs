//! Every text for people. The lines of the specification stay Portuguese; all others exist in three languages.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::protocol::legacy::onc_rpc::Logged;
use crate::protocol::metric::{Metric, Unit};
use crate::protocol::request::FileEntry;
use crate::protocol::response::{Away, PeerEntry, Provider};
use crate::protocol::types::account::Online;
use crate::protocol::types::address;
use crate::protocol::types::file_name::{BadName, printable};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::ui::account_errors;
use crate::ui::causes;
use crate::ui::event::{Failure, Prompt, UiEvent, Verdict, Version, WaitReason};
use crate::ui::help::help;
use crate::ui::skipped;
use crate::ui::transport_notes;

/// The languages of prompts and errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lang {
    /// Portuguese.
    #[default]
    Pt,
    /// Spanish.
    Es,
    /// English.
    En,
}

impl Lang {
    /// The language of a locale such as `es_ES.UTF-8`; Portuguese where it names none of the three.
    #[must_use]
    pub fn of_locale(locale: &str) -> Lang {
        match locale.split(['_', '.', '@', '-']).next() {
            Some("es") => Lang::Es,
            Some("en") => Lang::En,
            _ => Lang::Pt,
        }
    }
}

/// Where a text belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A line of stdout.
    Line(String),
    /// A line of stderr.
    Note(String),
    /// A line of stdout, and on stderr why.
    Answer {
        /// For stdout.
        line: String,
        /// For stderr.
        note: String,
    },
    /// What is asked of the person; only a console shows it.
    Prompt(String),
    /// Nothing in words; a progress bar may show it.
    Silent,
}

/// `Peer IP:PORTA adicionado com arquivos a.mp4 b.mp4`; each of `names` follows a space.
#[must_use]
pub fn joined(who: SocketAddr, names: &str) -> String {
    format!("Peer {who} adicionado com arquivos{names}")
}

/// `Peer IP:PORTA solicitou arquivo a.mp4`.
#[must_use]
pub fn asked(who: SocketAddr, name: &RelativeName) -> String {
    format!("Peer {who} solicitou arquivo {name}")
}

/// The same, into memory.
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

/// `a.mp4: OK`, as `b3sum --check` says it; `unknown` where nobody knows a root.
#[must_use]
pub fn verified(name: &RelativeName, verdict: Verdict) -> String {
    let word = match verdict {
        Verdict::Right => "OK",
        Verdict::Failed => "FAILED",
        Verdict::Unknown => "unknown",
    };
    format!("{name}: {word}")
}

/// `user<TAB>OPERATION file<TAB>date`, as UC3M logs it; the file only where there is one. These were never checked names.
#[must_use]
pub fn logged(logged: &Logged) -> String {
    let Logged { user, operation, file, date } = logged;
    let file = file.as_deref().map(|file| format!(" {}", printable(file))).unwrap_or_default();
    format!("{}\t{}{file}\t{}", printable(user), printable(operation), printable(date))
}

/// What it counts, and how much.
fn figure(figure: &Metric) -> String {
    let of = figure.of.as_deref().map(|of| format!(" {of}")).unwrap_or_default();
    let value = match figure.unit {
        Unit::Count => figure.value.to_string(),
        Unit::Bytes => size(Some(figure.value)),
        Unit::Nanoseconds => format!("{:?}", Duration::from_nanos(figure.value)),
    };
    format!("{}{of}\t{value}", figure.name)
}

/// One line a content: its number, its root, its size and who has it.
fn choice(contents: &[Version]) -> String {
    let holders = |version: &Version| {
        version.holders.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let rows = contents.iter().zip(1..).map(|(version, number)| {
        format!("{number}\tb3:{}\t{}\t{}", version.root, version.size, holders(version))
    });
    rows.collect::<Vec<_>>().join("\n")
}

/// A report in words.
#[must_use]
pub fn say(report: &UiEvent, lang: Lang) -> Output {
    match report {
        UiEvent::Joined { who, names } => Output::Line(joined(*who, names)),
        #[cfg(feature = "loadgen")]
        UiEvent::Bench(news) => Output::Line(news.say(lang)),
        UiEvent::Asked { who, name } => Output::Line(asked(*who, name)),
        UiEvent::Logged(logged) => Output::Line(self::logged(logged)),
        UiEvent::IAm { me, names } => Output::Line(i_am(*me, names)),
        UiEvent::Found { holders, .. } => {
            let contents = Version::among(holders);
            // One line is what the specification gives; more only where one name means several things.
            Output::Line(if contents.len() > 1 {
                format!("{}\n{}", found(holders), choice(&contents))
            } else {
                found(holders)
            })
        }
        UiEvent::Saved { name, folder, .. } => Output::Line(saved(name, folder)),
        UiEvent::Playing { url, .. } => Output::Line(url.clone()),
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
        // In the columns of a holder, without an address and a size.
        UiEvent::Away(files) => {
            let row = |f: &Away| {
                format!("-\t-\t{}\taway{}", f.name, tail([f.description.as_deref(), Some(&f.user)]))
            };
            rows(files.iter().map(row))
        }
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
        | UiEvent::Stopped(_) => Output::Silent,
        UiEvent::Prompt(prompt) => Output::Prompt(ask(*prompt, lang).to_owned()),
        UiEvent::Failed(failure) => Output::Note(failed(failure, lang)),
        UiEvent::Stalled { name, why } => Output::Note(format!("{name}: {}", stalled(why, lang))),
        UiEvent::PortFailed { at, why } => {
            Output::Note(failed(&Failure::Port(*at, why.clone()), lang))
        }
        _ => Output::Note(note(report, lang)),
    }
}

/// One line for each; nothing for none.
fn rows(rows: impl Iterator<Item = String>) -> Output {
    let rows: Vec<String> = rows.collect();
    if rows.is_empty() { Output::Silent } else { Output::Line(rows.join("\n")) }
}

/// What is said at the end of a row only where there is something to say.
fn tail(more: [Option<&str>; 2]) -> String {
    more.iter().flatten().fold(String::new(), |tail, word| tail + "\t" + word)
}

/// Who and where, and what is spoken there if that is an old wire.
fn online(online: &Online) -> String {
    let peer = online.peer.map_or_else(|| "-".to_owned(), |peer| peer.to_string());
    format!("{}\t{peer}{}", online.user, tail([online.speaks.map(LegacyProfile::as_str), None]))
}

/// Who has it, how many bytes, its name, and what is said of it.
fn holder(holder: &Provider) -> String {
    format!(
        "{}\t{}\t{}{}",
        holder.peer,
        size(holder.file.size),
        holder.file.name,
        tail([holder.file.description.as_deref(), holder.speaks.map(LegacyProfile::as_str)])
    )
}

/// How much is known of a file's content, as lists show it.
#[must_use]
pub fn state(file: &FileEntry) -> &'static str {
    match file {
        FileEntry { partial: true, .. } => "partial",
        FileEntry { size: None, .. } => "published",
        FileEntry { root: None, .. } => "hashing",
        FileEntry { .. } => "hashed",
    }
}

fn note(report: &UiEvent, lang: Lang) -> String {
    use Lang::{En, Es, Pt};
    match report {
        UiEvent::OldPort { at, speaks } => format!("{} {at}", speaks.as_str()),
        UiEvent::Listening(at) => match lang {
            Pt => format!("escutando em {at}"),
            Es => format!("a la escucha en {at}"),
            En => format!("listening on {at}"),
        },
        UiEvent::OfShare { folder, note } => skipped::note(folder, note, lang),
        UiEvent::AlreadyJoined(at) => match lang {
            Pt => format!("o peer {at} já está registrado com esta pasta"),
            Es => format!("el peer {at} ya está registrado con esta carpeta"),
            En => format!("peer {at} is already registered with this folder"),
        },
        UiEvent::NotHere(file) => match lang {
            Pt => format!("{file}: não está na pasta; ninguém pode baixá-lo por enquanto"),
            Es => format!("{file}: no está en la carpeta; nadie puede descargarlo por ahora"),
            En => format!("{file}: is not in the folder; nobody can download it for now"),
        },
        UiEvent::NotKept { name, why } => {
            let why = causes::reworded(why, lang);
            match lang {
                Pt => format!("{name}: não foi guardado: {why}"),
                Es => format!("{name}: no se ha guardado: {why}"),
                En => format!("{name}: was not kept: {why}"),
            }
        }
        UiEvent::Left => match lang {
            Pt => "fora da rede".into(),
            Es => "fuera de la red".into(),
            En => "left the network".into(),
        },
        UiEvent::Begun { name, from, held: 0, .. } => match lang {
            Pt => format!("{name}: baixando de {from}"),
            Es => format!("{name}: viene de {from}"),
            En => format!("{name}: coming from {from}"),
        },
        UiEvent::Begun { name, from, held, size } => match lang {
            Pt => format!("{name}: continua de {from}, {held} de {size} bytes já estão aqui"),
            Es => format!("{name}: sigue desde {from}, {held} de {size} bytes ya están aquí"),
            En => format!("{name}: goes on from {from}, {held} of {size} bytes are here already"),
        },
        UiEvent::Unverified { name, folder, .. } => match lang {
            Pt => format!(
                "{name}: não verificado! Está em {folder}, mas o conteúdo não foi conferido com nenhuma raiz"
            ),
            Es => format!(
                "{name}: ¡sin verificar! Está en {folder}, pero el contenido no se comprobó con ninguna raíz"
            ),
            En => format!(
                "{name}: unverified! It is in {folder}, but its content was not checked against a root"
            ),
        },
        UiEvent::TcpTakesOver { udp, why, .. } => {
            transport_notes::tcp_takes_over(*udp, &causes::reworded(why, lang), lang)
        }
        UiEvent::PlayerEnded { player, name } => match lang {
            Pt => format!("{name}: {player} terminou; o download continua"),
            Es => format!("{name}: {player} ha terminado; la descarga sigue"),
            En => format!("{name}: {player} has ended; the download goes on"),
        },
        UiEvent::Unproven(name) => match lang {
            Pt => format!("{name}: toca como vem; nada ainda confere estes bytes"),
            Es => format!("{name}: se reproduce como llega; nada comprueba aún estos bytes"),
            En => format!("{name}: played as it comes; nothing checks these bytes yet"),
        },
        UiEvent::Blamed { name, who } => match lang {
            Pt => format!("{name}: {who} deu bytes errados e não será mais usado"),
            Es => format!("{name}: {who} dio bytes incorrectos y ya no se usa"),
            En => format!("{name}: {who} gave wrong bytes and is not asked again"),
        },
        UiEvent::Same { name } => match lang {
            Pt => format!("{name}: já está aqui, igual"),
            Es => format!("{name}: ya está aquí, igual"),
            En => format!("{name}: already here, the same"),
        },
        UiEvent::Mismatched { failed, of } => match lang {
            Pt => format!("{failed} de {of} arquivos não conferem"),
            Es => format!("{failed} de {of} archivos no coinciden"),
            En => format!("{failed} of {of} files do not match"),
        },
        UiEvent::Restarted(name) => match lang {
            Pt => format!("{name}: mudou na origem, começa de novo"),
            Es => format!("{name}: ha cambiado en el origen, empieza de nuevo"),
            En => format!("{name}: has changed at its source, beginning anew"),
        },
        UiEvent::ServerLost { server, why } => {
            let why = causes::reworded(why, lang);
            match lang {
                Pt => format!("sem servidor em {server} ({why}); tentando de novo"),
                Es => format!("sin servidor en {server} ({why}); lo intento otra vez"),
                En => format!("no server at {server} ({why}); trying again"),
            }
        }
        UiEvent::ServerFound(server) => match lang {
            Pt => format!("servidor {server} encontrado"),
            Es => format!("servidor {server} encontrado"),
            En => format!("server {server} found"),
        },
        UiEvent::MoreFound => match lang {
            Pt => "há mais; --limit N mostra mais".into(),
            Es => "hay más; --limit N muestra más".into(),
            En => "there are more; --limit N shows more".into(),
        },
        UiEvent::Consent { who, name } => match lang {
            Pt => format!("{who} pede {name}. Gostaria de aprovar o download? (SIM/NAO)"),
            Es => format!("{who} pide {name}. ¿Desea aprobar la descarga? (SI/NO)"),
            En => format!("{who} asks for {name}. Do you approve the download? (YES/NO)"),
        },
        UiEvent::ConsentExpired(name) => match lang {
            Pt => format!("{name}: sem resposta, o download foi recusado"),
            Es => format!("{name}: sin respuesta, la descarga fue rechazada"),
            En => format!("{name}: no answer, the download was refused"),
        },
        UiEvent::Help => help(lang).into(),
        _ => String::new(),
    }
}

/// Why a download waits, in a few words.
#[must_use]
pub fn stalled(why: &WaitReason, lang: Lang) -> String {
    use Lang::{En, Es, Pt};
    match (why, lang) {
        (WaitReason::Consent, Pt) => "espera a aprovação do outro lado".into(),
        (WaitReason::Consent, Es) => "espera la aprobación del otro lado".into(),
        (WaitReason::Consent, En) => "waiting for the other side's approval".into(),
        (WaitReason::Slot(place), Pt) => format!("na fila, lugar {place}"),
        (WaitReason::Slot(place), Es) => format!("en la cola, puesto {place}"),
        (WaitReason::Slot(place), En) => format!("in the queue, place {place}"),
        (WaitReason::Source, Pt) => "origem perdida, tentando de novo".into(),
        (WaitReason::Source, Es) => "origen perdido, lo intento otra vez".into(),
        (WaitReason::Source, En) => "source lost, trying again".into(),
        (WaitReason::Silence, Pt) => "parado: nada chega".into(),
        (WaitReason::Silence, Es) => "parado: no llega nada".into(),
        (WaitReason::Silence, En) => "stalled: nothing comes".into(),
        (WaitReason::Nobody, Pt) => "ninguém tem ainda, espero".into(),
        (WaitReason::Nobody, Es) => "nadie lo tiene todavía, espero".into(),
        (WaitReason::Nobody, En) => "nobody has it yet, waiting".into(),
        (WaitReason::Hashing, Pt) => "o dono ainda calcula o hash do arquivo".into(),
        (WaitReason::Hashing, Es) => "el dueño todavía calcula el hash del archivo".into(),
        (WaitReason::Hashing, En) => "its owner is still hashing the file".into(),
        (WaitReason::Disk, Pt) => "espera o disco".into(),
        (WaitReason::Disk, Es) => "espera el disco".into(),
        (WaitReason::Disk, En) => "waiting for the disk".into(),
    }
}

/// A failure, in one line.
#[must_use]
pub fn failed(failure: &Failure, lang: Lang) -> String {
    use Lang::{En, Es, Pt};
    match failure {
        Failure::NoServer(at) => {
            let at = at.map(|at| at.to_string()).unwrap_or_default();
            match lang {
                Pt => format!("nenhum servidor responde em {at}"),
                Es => format!("ningún servidor responde en {at}"),
                En => format!("no server answers at {at}"),
            }
        }
        Failure::NoHost(host, why) => {
            let why = causes::reworded(why, lang);
            match lang {
                Pt => format!("servidor {host}: endereço não encontrado ({why})"),
                Es => format!("servidor {host}: dirección no encontrada ({why})"),
                En => format!("server {host}: no such address ({why})"),
            }
        }
        Failure::Name(text, why) => format!("{}: {}", printable(text), bad_name(*why, lang)),
        Failure::Refused(refusal) | Failure::Operation(_, refusal) => {
            account_errors::words(refusal, lang)
        }
        Failure::NotFound(name) => match lang {
            Pt => format!("{name}: ninguém tem este arquivo"),
            Es => format!("{name}: nadie tiene este archivo"),
            En => format!("{name}: nobody has this file"),
        },
        Failure::Ambiguous(name) => match lang {
            Pt => format!("{name}: há arquivos diferentes com este nome; escolha um com --hash"),
            Es => format!("{name}: hay archivos distintos con este nombre; elija uno con --hash"),
            En => format!("{name}: different files have this name; pick one with --hash"),
        },
        Failure::OtherContent { part, root, held } => {
            let of = root.map_or_else(String::new, |root| format!(" (--hash b3:{root})"));
            match lang {
                Pt => format!(
                    "{part}: guarda {held} bytes de outro conteúdo{of}, e fica como está; escolha outro nome com -o, ou apague {part}"
                ),
                Es => format!(
                    "{part}: guarda {held} bytes de otro contenido{of}, y queda como está; elija otro nombre con -o, o borre {part}"
                ),
                En => format!(
                    "{part}: holds {held} bytes of another content{of}, and stays as it is; choose another name with -o, or remove {part}"
                ),
            }
        }
        Failure::BadBytes(name, who) => match lang {
            Pt => format!("{name}: {who} deu bytes errados, e não há outra origem"),
            Es => format!("{name}: {who} dio bytes incorrectos, y no hay otro origen"),
            En => format!("{name}: {who} gave wrong bytes, and there is no other source"),
        },
        Failure::Root(text) => match lang {
            Pt => format!("{text}: esperava b3: e 64 dígitos hexadecimais"),
            Es => format!("{text}: esperaba b3: y 64 dígitos hexadecimales"),
            En => format!("{text}: expected b3: and 64 hex digits"),
        },
        Failure::NoSource(name) => match lang {
            Pt => format!("{name}: nenhuma origem responde; o mesmo comando continua depois"),
            Es => format!("{name}: ningún origen responde; la misma orden sigue después"),
            En => format!("{name}: no source answers; the same command goes on later"),
        },
        Failure::Unended(name, bytes) => match lang {
            Pt => format!(
                "{name}: vieram {bytes} bytes, e a origem não diz se são todos; eles ficam no .part, sem o nome final"
            ),
            Es => format!(
                "{name}: llegaron {bytes} bytes, y el origen no dice si son todos; quedan en el .part, sin el nombre final"
            ),
            En => format!(
                "{name}: {bytes} bytes came, and the source does not say whether these are all; they stay in the .part"
            ),
        },
        Failure::Protocol(text) => match lang {
            Pt => format!("o outro lado não fala o protocolo: {text}"),
            Es => format!("el otro lado no habla el protocolo: {text}"),
            En => format!("the other side does not speak the protocol: {text}"),
        },
        Failure::Disk(text) => {
            let text = causes::reworded(text, lang);
            match lang {
                Pt | Es => format!("disco: {text}"),
                En => format!("disk: {text}"),
            }
        }
        Failure::NoReader => match lang {
            Pt => "ninguém lê mais a saída".into(),
            Es => "nadie lee ya la salida".into(),
            En => "nobody reads the output any more".into(),
        },
        Failure::NoFolder(folder) => match lang {
            Pt => format!("{folder}: a pasta não existe"),
            Es => format!("{folder}: la carpeta no existe"),
            En => format!("{folder}: no such folder"),
        },
        Failure::Port(at, why) => {
            let why = causes::reworded(why, lang);
            match lang {
                Pt => format!("não posso escutar em {at}: {why}"),
                Es => format!("no puedo escuchar en {at}: {why}"),
                En => format!("cannot listen on {at}: {why}"),
            }
        }
        Failure::Unseen(at, server) => match lang {
            Pt => format!(
                "ninguém acharia este peer: ele escuta em {at}, mas o servidor {server} o vê pela outra família de endereços; use --listen '[::]:{}' ou --advertise",
                at.port()
            ),
            Es => format!(
                "nadie hallaría este peer: escucha en {at}, pero el servidor {server} lo ve por la otra familia de direcciones; use --listen '[::]:{}' o --advertise",
                at.port()
            ),
            En => format!(
                "nobody would find this peer: it listens on {at}, but the server {server} sees it by the other family of addresses; use --listen '[::]:{}' or --advertise",
                at.port()
            ),
        },
        Failure::Unknown(word) => match lang {
            Pt => format!("{word}: comando desconhecido (help mostra todos)"),
            Es => format!("{word}: orden desconocida (help las muestra)"),
            En => format!("{word}: unknown command (help lists them)"),
        },
        Failure::Named(_, why) => failed(why, lang),
        Failure::Usage(how) => match lang {
            Pt | Es => format!("uso: {how}"),
            En => format!("usage: {how}"),
        },
        Failure::Wrong(what) => match lang {
            Pt => format!("esperava: {what}"),
            Es => format!("esperaba: {what}"),
            En => format!("expected: {what}"),
        },
        Failure::Player(player, why) => {
            let why = causes::reworded(why, lang);
            match lang {
                Pt => format!("{player}: não pode ser iniciado: {why}"),
                Es => format!("{player}: no se puede iniciar: {why}"),
                En => format!("{player}: can't be started: {why}"),
            }
        }
        Failure::SearchFirst => match lang {
            Pt => "SEARCH vem antes de DOWNLOAD".into(),
            Es => "SEARCH va antes de DOWNLOAD".into(),
            En => "SEARCH comes before DOWNLOAD".into(),
        },
        Failure::NoQuestion => match lang {
            Pt => "ninguém pergunta nada".into(),
            Es => "nadie pregunta nada".into(),
            En => "nobody is asking".into(),
        },
        Failure::NotJoined => match lang {
            Pt => "JOIN vem antes".into(),
            Es => "JOIN va antes".into(),
            En => "JOIN comes first".into(),
        },
    }
}

/// Why a text is no file name.
fn bad_name(why: BadName, lang: Lang) -> &'static str {
    use Lang::{En, Es, Pt};
    match (why, lang) {
        (BadName::Empty, Pt) => "o nome de um arquivo não pode ser vazio",
        (BadName::Empty, Es) => "el nombre de un archivo no puede estar vacío",
        (BadName::Empty, En) => "a file name must not be empty",
        (BadName::Long, Pt) => "o nome de um arquivo tem no máximo 255 bytes",
        (BadName::Long, Es) => "el nombre de un archivo tiene como máximo 255 bytes",
        (BadName::Long, En) => "a file name has at most 255 bytes",
        (BadName::Dots, Pt) => "não é nome de arquivo",
        (BadName::Dots, Es) => "no es nombre de archivo",
        (BadName::Dots, En) => "is no file name",
        (BadName::Separator, Pt) => "o nome de um arquivo não pode conter / nem \\",
        (BadName::Separator, Es) => "el nombre de un archivo no puede contener / ni \\",
        (BadName::Separator, En) => "a file name must not hold / or \\",
        (BadName::Control | BadName::Direction, Pt) => {
            "o nome de um arquivo não pode conter caracteres de controle"
        }
        (BadName::Control | BadName::Direction, Es) => {
            "el nombre de un archivo no puede contener caracteres de control"
        }
        (BadName::Control | BadName::Direction, En) => {
            "a file name must not hold control characters"
        }
        (BadName::Deep, Pt) => "o nome passa por pastas demais (16) ou é longo demais (1024 bytes)",
        (BadName::Deep, Es) => {
            "el nombre pasa por demasiadas carpetas (16) o es demasiado largo (1024 bytes)"
        }
        (BadName::Deep, En) => {
            "the name leads through too many folders (16) or is too long (1024 bytes)"
        }
        (BadName::Reserved, Pt) => "nomes que terminam em .part ou .part.record são reservados",
        (BadName::Reserved, Es) => {
            "los nombres que terminan en .part o .part.record están reservados"
        }
        (BadName::Reserved, En) => "names that end in .part or .part.record are reserved",
    }
}

fn ask(prompt: Prompt, lang: Lang) -> &'static str {
    use Lang::{En, Es, Pt};
    match (prompt, lang) {
        (Prompt::Menu, _) => "JOIN | SEARCH | DOWNLOAD > ",
        (Prompt::Command, _) => "> ",
        (Prompt::Ip, _) => "IP: ",
        (Prompt::Port, Pt) => "Porta: ",
        (Prompt::Port, Es) => "Puerto: ",
        (Prompt::Port, En) => "Port: ",
        (Prompt::Folder, Pt) => "Pasta: ",
        (Prompt::Folder, Es) => "Carpeta: ",
        (Prompt::Folder, En) => "Folder: ",
        (Prompt::Choice, Pt) => "Qual? ",
        (Prompt::Choice, Es) => "¿Cuál? ",
        (Prompt::Choice, En) => "Which one? ",
        (Prompt::User, Pt) => "Usuário: ",
        (Prompt::User, Es) => "Usuario: ",
        (Prompt::User, En) => "User: ",
        (Prompt::Text, Pt | Es) => "Texto: ",
        (Prompt::Text, En) => "Text: ",
        (Prompt::Name | Prompt::Goal, Pt) => "Nome do arquivo: ",
        (Prompt::Name | Prompt::Goal, Es) => "Nombre del archivo: ",
        (Prompt::Name | Prompt::Goal, En) => "File name: ",
    }
}

/// How many bytes a file has, where that is known.
#[must_use]
pub fn size(size: Option<u64>) -> String {
    size.map_or_else(|| "?".to_owned(), |size| size.to_string())
}

/// The word beside the remaining time of a progress bar.
#[must_use]
pub fn remaining(lang: Lang) -> &'static str {
    match lang {
        Lang::Pt => "falta",
        Lang::Es => "falta",
        Lang::En => "left",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::FileEntry;

    fn name() -> RelativeName {
        RelativeName::new("aula1.mp4").unwrap()
    }

    #[test]
    fn the_lines_of_the_specification_are_given_to_the_letter() {
        let who: SocketAddr = "127.0.0.1:8776".parse().unwrap();
        assert_eq!(
            joined(who, " aula1.mp4 aula2.mp4"),
            "Peer 127.0.0.1:8776 adicionado com arquivos aula1.mp4 aula2.mp4"
        );
        assert_eq!(asked(who, &name()), "Peer 127.0.0.1:8776 solicitou arquivo aula1.mp4");
        assert_eq!(
            i_am(who, " aula1.mp4 aula2.mp4"),
            "Sou peer 127.0.0.1:8776 com arquivos aula1.mp4 aula2.mp4"
        );
        let file = FileEntry::new(name(), 1);
        let holder = Provider { peer: who, file, user: None, speaks: None, quic: None };
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
    fn a_node_stands_above_its_files() {
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
            let help = help(lang);
            for command in crate::client::console::napster::COMMANDS
                .iter()
                .filter(|command| !["HELP", "SIM", "NODES"].contains(command))
            {
                assert!(help.contains(command), "{command}");
            }
        }
    }

    #[test]
    fn a_locale_chooses_the_language() {
        for (locale, lang) in [
            ("en_US.UTF-8", Lang::En),
            ("es", Lang::Es),
            ("es_MX@euro", Lang::Es),
            ("pt_BR.UTF-8", Lang::Pt),
            ("C.UTF-8", Lang::Pt),
            ("", Lang::Pt),
            ("eng", Lang::Pt),
        ] {
            assert_eq!(Lang::of_locale(locale), lang, "{locale}");
        }
    }

    #[test]
    fn those_lines_are_the_same_in_every_language() {
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
