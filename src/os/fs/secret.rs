//! Finds files that must never be shared under any name: secret keys, and the data of cardume
//! itself.
//!
//! The content decides. Keys are small, so only small files are read completely; of larger files at
//! most a header.

/// Files up to this size are searched for secret keys: a key with its certificate chain is smaller.
const SECRET_BYTES: usize = 64 << 10;

/// The header of an SQLite database, with the four bytes of its application id.
const DATABASE_HEADER: usize = 72;
/// The beginning of an SQLite database.
const DATABASE: &[u8] = b"SQLite format 3\0";
/// The application id of a cardume store, which [`crate::os::sqlite`] writes.
const OURS: &[u8] = b"card";
/// The beginning of the log of an SQLite database, without its last byte.
const DATABASE_LOG: &[u8] = &[0x37, 0x7f, 0x06];

/// Text in the armour of secret keys.
const ARMOURS: [&[u8]; 6] = [
    b"PRIVATE KEY-----",
    b"PRIVATE KEY BLOCK-----",
    b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY",
    b"PuTTY-User-Key-File-",
    b"AGE-SECRET-KEY-1",
    b"encrypted secret key\n",
];

/// Why a file is not shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// A secret key.
    Secret,
    /// A server's store, or a hash cache.
    State,
}

/// How many bytes of a file of this size and name decide; 0 when none are needed.
pub fn telling(name: &[u8], size: u64) -> usize {
    match usize::try_from(size) {
        Ok(size) if size <= SECRET_BYTES => size,
        // A database consists of whole pages.
        _ if size.is_multiple_of(512) || name.ends_with(b"-wal") => DATABASE_HEADER,
        _ => 0,
    }
}

/// The kind of secret in a file with this beginning; `is_whole`: `content` is the whole file.
pub fn judge(content: &[u8], is_whole: bool) -> Option<SecretKind> {
    if content.starts_with(DATABASE_LOG)
        || (content.starts_with(DATABASE)
            && content.get(DATABASE_HEADER - 4..DATABASE_HEADER) == Some(OURS))
    {
        return Some(SecretKind::State);
    }
    if !is_whole {
        return None;
    }
    if is_armoured(content) || is_own_key(content) || is_der(content) {
        return Some(SecretKind::Secret);
    }
    is_cache(content).then_some(SecretKind::State)
}

/// 64 hex digits and blanks: the key of a user, as [`crate::os::fs::key_file`] writes it and
/// editors save it.
fn is_own_key(content: &[u8]) -> bool {
    let text = without_zeros(content);
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
    let text = text
        .strip_prefix(&[0xff, 0xfe][..])
        .or_else(|| text.strip_prefix(&[0xfe, 0xff][..]))
        .unwrap_or(text);
    let text = text.trim_ascii();
    text.len() == 64 && text.iter().all(u8::is_ascii_hexdigit)
}

fn is_armoured(content: &[u8]) -> bool {
    // Armours are short lines of ASCII, also in UTF-16.
    let text = if content.contains(&0) { &without_zeros(content) } else { content };
    ARMOURS.iter().any(|armour| has(text, armour))
}

fn without_zeros(content: &[u8]) -> Vec<u8> {
    content.iter().copied().filter(|byte| *byte != 0).collect()
}

fn has(text: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(text, wanted).is_some()
}

/// PKCS #8 and PKCS #1: one sequence as long as the file that begins with a version, an algorithm
/// or a modulus.
fn is_der(content: &[u8]) -> bool {
    let Some((body, true)) = sequence(content) else { return false };
    let version = body.strip_prefix(&[2, 1, 0][..]).or_else(|| body.strip_prefix(&[2, 1, 1][..]));
    let Some(rest) = version else { return false };
    match rest {
        // An algorithm is a sequence that begins with an object identifier; a key in an octet
        // string follows.
        [0x30, length, 6, ..] => rest.get(2 + usize::from(*length)) == Some(&4),
        // A modulus, or the key itself in SEC 1.
        [2, 0x81 | 0x82, ..] | [4, 0x14..=0x42, ..] => true,
        _ => false,
    }
}

/// The body of the sequence at the start of `content`, and whether nothing follows.
fn sequence(content: &[u8]) -> Option<(&[u8], bool)> {
    let (length, body) = match content {
        [0x30, short @ 0..=0x7f, body @ ..] => (usize::from(*short), body),
        [0x30, 0x81, length, body @ ..] => (usize::from(*length), body),
        [0x30, 0x82, high, low, body @ ..] => {
            (usize::from(u16::from_be_bytes([*high, *low])), body)
        }
        _ => return None,
    };
    Some((body, body.len() == length))
}

/// Lines of the hash cache: numbers, a root, and a checksum.
pub fn is_cache(content: &[u8]) -> bool {
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let words: Vec<&str> = line.split(' ').collect();
    let is_number = |word: &&str| {
        word.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit()) && !word.is_empty()
    };
    let is_hex =
        |word: &&str| word.bytes().all(|byte| byte.is_ascii_hexdigit()) && !word.is_empty();
    (6..=8).contains(&words.len())
        && words[..4].iter().all(is_number)
        && words.iter().all(|word| is_number(word) || is_hex(word))
        && words.iter().any(|word| word.len() == 64 && is_hex(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(content: &[u8]) -> Option<SecretKind> {
        judge(content, true)
    }

    #[test]
    fn secret_keys_are_recognized_by_content() {
        let hex = "0123456789abcdef".repeat(4);
        let wide: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain(format!("{hex}\r\n").bytes().flat_map(|byte| [byte, 0]))
            .collect();
        let ed25519_der = [
            &[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20][..],
            &[7; 32],
        ]
        .concat();
        for secret in [
            format!("{hex}\n").as_bytes(),
            hex.as_bytes(),
            format!("\u{feff} {}\r\n\n", hex.to_uppercase()).as_bytes(),
            &wide,
            b"-----BEGIN PRIVATE KEY-----\nMC4CAQ==\n-----END PRIVATE KEY-----\n",
            b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n",
            b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n-----END OPENSSH PRIVATE KEY-----\n",
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\r\n",
            b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n",
            b"PuTTY-User-Key-File-3: ssh-ed25519\n",
            b"# created: now\nAGE-SECRET-KEY-1QQ\n",
            b"untrusted comment: minisign encrypted secret key\nRWRT\n",
            &ed25519_der,
        ] {
            assert_eq!(whole(secret), Some(SecretKind::Secret), "{}", String::from_utf8_lossy(secret));
        }
        for open in [
            b"".as_slice(),
            b"a film\n",
            &hex.as_bytes()[1..],
            format!("{hex}  aula1.mp4\n").as_bytes(),
            format!("{hex}\n{hex}\n").as_bytes(),
            b"-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n",
            b"-----BEGIN CERTIFICATE-----\n",
            b"ssh-ed25519 AAAAC3Nz ana@home\n",
            &[0x30, 3, 2, 1, 5],
        ] {
            assert_eq!(whole(open), None, "{}", String::from_utf8_lossy(open));
        }
    }

    #[test]
    fn data_of_cardume_is_recognized_by_content() {
        let mut database = [0; 4096];
        database[..16].copy_from_slice(DATABASE);
        assert_eq!(judge(&database, false), None);
        database[68..72].copy_from_slice(OURS);
        assert_eq!(
            (judge(&database[..DATABASE_HEADER], false), whole(&database)),
            (Some(SecretKind::State), Some(SecretKind::State))
        );
        assert_eq!(judge(&[0x37, 0x7f, 0x06, 0x82, 0, 0], false), Some(SecretKind::State));
        let line =
            format!("64 1234 100 1700000000000000000 {} 0123456789abcdef\n", "ab".repeat(32));
        assert_eq!(whole(line.as_bytes()), Some(SecretKind::State));
        assert_eq!(whole(b"1 2 3 4 5 6\n"), None);
    }

    #[test]
    fn only_the_deciding_bytes_are_read() {
        assert_eq!((telling(b"a", 0), telling(b"a", 65)), (0, 65));
        assert_eq!(
            (
                telling(b"a", 1 << 30),
                telling(b"a", (1 << 30) + 1),
                telling(b"a-wal", (1 << 30) + 1)
            ),
            (DATABASE_HEADER, 0, DATABASE_HEADER)
        );
    }
}
