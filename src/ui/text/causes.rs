//! Recognizes the causes of failures in the English texts of the system, the standard library and
//! SQLite, so that a person reads the cause and its remedy in one language.
//!
//! Failures carry their cause as text, because they cross layers that know no language.

use crate::ui::text::catalog::{Catalog, Cause};

/// The cause, its error numbers on Linux, and its spellings in lower case.
type KnownCause = (Cause, &'static [i32], &'static [&'static str]);

const CAUSES: &[KnownCause] = &[
    (Cause::PermissionDenied, &[1, 13], &["permission denied", "operation not permitted"]),
    (Cause::NotFound, &[2], &["no such file or directory", "entity not found"]),
    (Cause::DiskFailed, &[5], &["input/output error", "i/o error", "disk i/o error"]),
    (Cause::OutputClosed, &[9], &["bad file descriptor"]),
    (
        Cause::InUse,
        &[11, 16],
        &[
            "resource temporarily unavailable",
            "operation would block",
            "device or resource busy",
            "resource busy",
            "database is locked",
        ],
    ),
    (Cause::OutOfMemory, &[12], &["cannot allocate memory", "out of memory"]),
    (Cause::Exists, &[17], &["file exists", "entity already exists"]),
    (Cause::NotAFolder, &[20], &["not a directory"]),
    (Cause::IsAFolder, &[21], &["is a directory"]),
    (Cause::TooManyOpen, &[23, 24], &["too many open files", "too many open files in system"]),
    (Cause::TooLarge, &[27], &["file too large"]),
    (
        Cause::DiskFull,
        &[28, 122],
        &[
            "no space left on device",
            "no storage space",
            "quota exceeded",
            "disk quota exceeded",
            "database or disk is full",
            "the disk is full",
        ],
    ),
    (
        Cause::ReadOnly,
        &[30],
        &[
            "read-only file system",
            "read-only filesystem or storage medium",
            "attempt to write a readonly database",
        ],
    ),
    (Cause::BrokenPipe, &[32], &["broken pipe", "nobody reads the pipe any more"]),
    (Cause::NameTooLong, &[36], &["file name too long"]),
    (Cause::SymbolicLink, &[40], &["too many levels of symbolic links"]),
    (
        Cause::NotPossible,
        &[22, 38, 95],
        &[
            "invalid argument",
            "invalid input parameter",
            "function not implemented",
            "operation not supported",
            "unsupported",
        ],
    ),
    (Cause::NoAddressFamily, &[97], &["address family not supported by protocol"]),
    (Cause::PortInUse, &[98], &["address already in use", "address in use"]),
    (
        Cause::AddressNotLocal,
        &[99],
        &[
            "cannot assign requested address",
            "can't assign requested address",
            "address not available",
        ],
    ),
    (Cause::NoInterface, &[19], &["no such device"]),
    (
        Cause::Unroutable,
        &[100, 101, 113],
        &[
            "network is unreachable",
            "network is down",
            "network unreachable",
            "no route to host",
            "host unreachable",
        ],
    ),
    (
        Cause::ConnectionReset,
        &[103, 104],
        &[
            "connection reset by peer",
            "reset by peer",
            "connection reset",
            "software caused connection abort",
            "connection aborted",
        ],
    ),
    (
        Cause::NoAnswer,
        &[110],
        &[
            "connection timed out",
            "timed out",
            "operation timed out",
            "no answer",
            "it does not answer",
        ],
    ),
    (Cause::ConnectionRefused, &[111], &["connection refused"]),
    (Cause::ConnectionLost, &[], &["link lost"]),
    (
        Cause::UnknownName,
        &[],
        &[
            "failed to lookup address information: name or service not known",
            "failed to lookup address information: temporary failure in name resolution",
            "failed to lookup address information: no address associated with hostname",
            "failed to lookup address information: name does not resolve",
            "failed to lookup address information: try again",
            "no address",
        ],
    ),
    (Cause::NotAnAddress, &[], &["invalid socket address", "invalid port value"]),
    (Cause::EarlyEnd, &[], &["unexpected end of file", "failed to fill whole buffer"]),
    (Cause::NotText, &[], &["stream did not contain valid utf-8", "invalid data"]),
    (
        Cause::NotAStore,
        &[],
        &[
            "file is not a database",
            "database disk image is malformed",
            "accounts.sqlite is no store of cardume",
        ],
    ),
    (Cause::StoreClosed, &[], &["unable to open database file"]),
    (Cause::NameTaken, &[], &["another file has that name"]),
    (Cause::DownloadedElsewhere, &[], &["another process is downloading it"]),
    (Cause::NoFolder, &[], &["the folder is not there"]),
    (Cause::Changing, &[], &["it changes while it is read", "it is being changed"]),
    (Cause::FolderShared, &[], &["the folder is not ours alone to write"]),
    (Cause::FolderHeld, &[], &["another server holds this folder"]),
    (Cause::NotInstalled, &[], &["it is not installed"]),
    (Cause::OpenFileLimit, &[], &["this process may open no more files"]),
    (Cause::SizeLimit, &[], &["the file is larger than this disk or this process may write"]),
    (Cause::NotAKey, &[], &["that is no key"]),
    (Cause::TooLong, &[], &["too long"]),
    (Cause::Changed, &[], &["the file has changed"]),
    (Cause::NotAFile, &[], &["this is no file"]),
    (Cause::NoKey, &[], &["there is no key"]),
    (Cause::OtherKey, &[], &["it has another key"]),
    (Cause::NoSharedMemory, &[], &["this file system has no shared memory for accounts.sqlite"]),
    (Cause::LinkGone, &[], &["the link is gone"]),
    (Cause::NoQuic, &[], &["this program was built without quic"]),
];

/// The standard library puts this before an error number.
const NUMBER: &str = " (os error ";

/// QUIC errors, as a whole.
const OF_QUIC: [&str; 3] =
    ["peer doesn't implement any supported version", "its state is broken", "closed"];
/// The beginnings of QUIC errors with details.
const BEGINNINGS_OF_QUIC: [&str; 5] = [
    "aborted by peer",
    "closed by peer",
    "the cryptographic handshake failed",
    "sending failed",
    "no QUIC from port",
];

/// `text` with its known causes in the language of `catalog`. All other parts, such as the name of
/// a file, stay.
#[must_use]
pub fn reworded(text: &str, catalog: &dyn Catalog) -> String {
    let Some((front, rest)) = text.split_once(NUMBER) else { return by_words(text, catalog) };
    let Some((number, behind)) = rest.split_once(')') else { return text.to_owned() };
    let Ok(code) = number.parse::<i32>() else { return text.to_owned() };
    // The text of the system stands between the last colon, or bracket, and its number.
    let start = front.rfind([':', '(']).map_or(0, |at| at + 1);
    let (place, message) = front.split_at(start);
    let words = match by_code(code).or_else(|| by_name(message.trim())) {
        Some(cause) => catalog.cause(cause).to_owned(),
        None => catalog.unknown_cause(code),
    };
    let gap = if place.ends_with(':') { " " } else { "" };
    format!("{place}{gap}{words}{}", reworded(behind, catalog))
}

/// A cause without a number is the whole text, or all that follows one of its colons.
fn by_words(text: &str, catalog: &dyn Catalog) -> String {
    if let Some(cause) = by_name(text) {
        return catalog.cause(cause).to_owned();
    }
    if OF_QUIC.iter().any(|known| known.eq_ignore_ascii_case(text))
        || BEGINNINGS_OF_QUIC.iter().any(|known| text.starts_with(known))
    {
        return catalog.quic_failed(text);
    }
    if let Some(file) = text.strip_suffix(" is in the way and not ours") {
        return catalog.not_ours(file);
    }
    if let Some(file) = text.strip_suffix(" holds a part of another content") {
        return catalog.other_content(file);
    }
    if let Some(file) = text.strip_suffix(" is changed by another program") {
        return catalog.changed_elsewhere(file);
    }
    for (at, _) in text.match_indices(": ") {
        if let Some(cause) = by_name(&text[at + 2..]) {
            return format!("{}: {}", &text[..at], catalog.cause(cause));
        }
    }
    text.to_owned()
}

fn by_code(code: i32) -> Option<Cause> {
    CAUSES.iter().find(|(_, codes, _)| codes.contains(&code)).map(|(cause, ..)| *cause)
}

fn by_name(message: &str) -> Option<Cause> {
    let is_known = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(message));
    CAUSES.iter().find(|(_, _, names)| is_known(names)).map(|(cause, ..)| *cause)
}

#[cfg(test)]
mod tests {
    use std::io;

    use crate::storage::fs_trait::FsError;
    use crate::ui::lang::Lang;
    use crate::ui::text::{cause, reworded};

    #[test]
    fn no_cause_shows_an_error_number_or_the_text_of_a_library() {
        for lang in [Lang::Pt, Lang::Es, Lang::En] {
            for code in 1..134 {
                let error = io::Error::from_raw_os_error(code);
                for text in
                    [error.to_string(), format!("a: b.mp4: {error}"), format!("a.mp4 ({error})")]
                {
                    let words = reworded(&text, lang);
                    assert!(!words.contains("os error"), "{words}");
                    assert!(
                        words.starts_with(&text[..text.find(&error.to_string()).unwrap()]),
                        "{words}"
                    );
                    assert!(
                        lang == Lang::En
                            || !words.contains(error.to_string().split(" (os").next().unwrap()),
                        "{words}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_known_cause_gets_its_remedy_and_names_stay() {
        let full = io::Error::from_raw_os_error(28);
        assert_eq!(
            reworded(&format!("a.mp4: {full}"), Lang::Pt),
            "a.mp4: o disco está cheio; libere espaço e repita"
        );
        assert_eq!(
            cause(&io::ErrorKind::PermissionDenied.into(), Lang::Es),
            "sin permiso; mire de quién es y quién puede leer y escribir (ls -ld)"
        );
        assert_eq!(
            reworded("the disk is full: is what this file is called", Lang::Pt),
            "the disk is full: is what this file is called"
        );
        assert_eq!(
            reworded(
                "host: failed to lookup address information: Name or service not known",
                Lang::En
            ),
            "host: unknown name; check its spelling and the network"
        );
        assert_eq!(
            cause(&io::Error::from_raw_os_error(4_095), Lang::En),
            "the system refuses it (error 4095)"
        );
        assert_eq!(reworded("x (os error y", Lang::En), "x (os error y");
        assert_eq!(
            reworded("d: a.mp4.part is changed by another program", Lang::Es),
            "d: a.mp4.part: otro programa lo modifica"
        );
    }

    #[test]
    fn every_error_of_a_folder_is_translated() {
        for error in [
            FsError::NoFolder,
            FsError::Full,
            FsError::Taken,
            FsError::Locked,
            FsError::NotOurs("a.part".into()),
            FsError::OtherContent { part: "a.part".into(), root: None, held: 1 },
            FsError::Disturbed("a.part".into()),
            FsError::Descriptors,
            FsError::TooLarge,
            FsError::NoReader,
        ] {
            let text = error.to_string();
            for lang in [Lang::Pt, Lang::Es] {
                assert_ne!(reworded(&text, lang), text);
                let text = format!("pasta: {text}");
                assert_ne!(reworded(&text, lang), text);
            }
        }
    }
}
