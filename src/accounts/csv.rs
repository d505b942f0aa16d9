//! Accounts as CSV text: fields between semicolons, one row a line. The names of the files are in
//! `os`.
//!
//! ```text
//! users.csv        user            and the key in hex, where he has one
//! connected.csv    user;ip;port    and the wire, where it is another than UC3M's
//! files/USER.csv   file;description
//! ```
//!
//! A field with `;`, `"` or a line break is quoted, with each `"` doubled. A quote inside an
//! unquoted field is text, because UC3M's own server quotes nothing.

use std::fmt;
use std::io::{self, BufRead, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::accounts::store::{Account, UserConnection};
use crate::protocol::types::account::{Key, Line, Publication, UserName};
use crate::protocol::types::legacy_profile::LegacyProfile;

/// A row of a CSV file: two texts with every character doubled, and separators.
const ROW_BYTES: usize = 4 << 10;

/// Reason to reject a row.
#[derive(Debug)]
pub enum Wrong {
    /// An open quote, or text after a closing quote.
    Quotes,
    /// No end within 4 KiB.
    Long,
    /// Not UTF-8.
    Encoding,
    /// The number of fields, and the fields expected.
    Fields(usize, &'static str),
    /// Not a valid user name.
    User,
    /// Not a valid key.
    Key,
    /// Not a valid address.
    Address,
    /// Not the name of a legacy protocol.
    Wire,
    /// Not a valid publication.
    File,
    /// Not a valid description.
    Description,
    /// No such user.
    Unknown,
    /// The file cannot be read.
    Unread(io::Error),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Quotes => f.write_str("the quotes don't match"),
            Wrong::Long => write!(f, "the row has more than {} bytes", ROW_BYTES),
            Wrong::Encoding => f.write_str("this is not UTF-8"),
            Wrong::Fields(count, wanted) => write!(f, "{count} fields instead of {wanted}"),
            Wrong::User => f.write_str("not a valid user name"),
            Wrong::Key => f.write_str("a key has 64 lower-case hex digits, and must not be weak"),
            Wrong::Address => f.write_str("not an IP and port"),
            Wrong::Wire => f.write_str("not the name of a protocol"),
            Wrong::File => f.write_str("not a valid file name"),
            Wrong::Description => f.write_str("not a valid description"),
            Wrong::Unknown => f.write_str("users.csv has no such user"),
            Wrong::Unread(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Wrong {
        Wrong::Unread(error)
    }
}

/// A reader of rows that counts lines.
pub struct Rows<R> {
    from: R,
    /// Number of the last line read, from one.
    line: u64,
}

impl<R: BufRead> Rows<R> {
    /// Read from the first line on.
    pub fn new(from: R) -> Rows<R> {
        Rows { from, line: 0 }
    }

    /// Number of the last line read, from one: the position of an error.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Fields of the next row that is not blank; `None` at the end.
    ///
    /// # Errors
    /// If the text is no row.
    pub fn next_row(&mut self) -> Result<Option<Vec<String>>, Wrong> {
        let mut text = Vec::new();
        let mut first = self.line + 1;
        loop {
            let had = text.len();
            let most = (ROW_BYTES + 1).saturating_sub(had);
            let came = (&mut self.from).take(most as u64).read_until(b'\n', &mut text)?;
            if came == 0 {
                return if text.is_empty() { Ok(None) } else { Err(Wrong::Quotes) };
            }
            self.line += 1;
            if text.len() > ROW_BYTES {
                return Err(Wrong::Long);
            }
            let row = std::str::from_utf8(&text).map_err(|_| Wrong::Encoding)?;
            // Byte order mark of some editors.
            let row = if first == 1 { row.strip_prefix('\u{feff}').unwrap_or(row) } else { row };
            if row.trim_end_matches(['\r', '\n']).is_empty() {
                text.clear();
                first = self.line + 1;
                continue;
            }
            // An open quote continues on the next line.
            if let Some(fields) = split(row)? {
                return Ok(Some(fields));
            }
        }
    }
}

/// Fields of a row; `None` if a quote is open at its end.
fn split(row: &str) -> Result<Option<Vec<String>>, Wrong> {
    let mut fields = Vec::new();
    let mut rest = row;
    loop {
        let Some(mut inside) = rest.strip_prefix('"') else {
            let Some((field, behind)) = rest.split_once(';') else {
                fields.push(without_break(rest).to_owned());
                return Ok(Some(fields));
            };
            fields.push(field.to_owned());
            rest = behind;
            continue;
        };
        let mut field = String::new();
        loop {
            let Some((part, behind)) = inside.split_once('"') else { return Ok(None) };
            field.push_str(part);
            let Some(more) = behind.strip_prefix('"') else {
                rest = behind;
                break;
            };
            field.push('"');
            inside = more;
        }
        fields.push(field);
        match rest.strip_prefix(';') {
            Some(behind) => rest = behind,
            None if without_break(rest).is_empty() => return Ok(Some(fields)),
            None => return Err(Wrong::Quotes),
        }
    }
}

fn without_break(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// Append a row.
pub fn write(fields: &[&str], to: &mut String) {
    for (place, field) in fields.iter().enumerate() {
        if place > 0 {
            to.push(';');
        }
        // Quote a byte order mark, which the reader skips at the start of a file.
        if field.contains([';', '"', '\r', '\n', '\u{feff}']) {
            to.push('"');
            to.push_str(&field.replace('"', "\"\""));
            to.push('"');
        } else {
            to.push_str(field);
        }
    }
    to.push('\n');
}

/// Append a user.
pub fn write_user(name: &UserName, account: &Account, to: &mut String) {
    match account.key {
        None => write(&[name], to),
        Some(key) => write(&[name, &key.to_string()], to),
    }
}

/// Append the address of a user.
pub fn write_connection(name: &UserName, at: &UserConnection, to: &mut String) {
    let (ip, port) = (at.address.ip().to_string(), at.address.port().to_string());
    write(&[name, &ip, &port, at.speaks.as_str()], to);
}

/// Append a publication.
pub fn write_publication(what: &Publication, to: &mut String) {
    write(&[&what.file, &what.description], to);
}

/// Parse a user.
///
/// # Errors
/// The first invalid field.
pub fn user(fields: &[String]) -> Result<(UserName, Account), Wrong> {
    let (name, key) = match fields {
        [name] => (name, None),
        // Spreadsheets pad rows to the same number of fields.
        [name, key] if key.is_empty() => (name, None),
        [name, key] => (name, Some(Key::parse(key).ok_or(Wrong::Key)?)),
        _ => return Err(Wrong::Fields(fields.len(), "user or user;key")),
    };
    Ok((user_name(name)?, Account { key }))
}

/// Parse the address of a user.
///
/// # Errors
/// The first invalid field.
pub fn connection(fields: &[String]) -> Result<(UserName, UserConnection), Wrong> {
    let (name, ip, port, word) = match fields {
        [name, ip, port] => (name, ip, port, ""),
        [name, ip, port, word] => (name, ip, port, word.as_str()),
        _ => return Err(Wrong::Fields(fields.len(), "user;ip;port or user;ip;port;wire")),
    };
    let name = user_name(name)?;
    // UC3M's server accepts this word for an IP address.
    let ip: IpAddr = if ip == "localhost" {
        Ipv4Addr::LOCALHOST.into()
    } else {
        ip.parse().map_err(|_| Wrong::Address)?
    };
    let port: u16 = port.parse().ok().filter(|port| *port >= 1_024).ok_or(Wrong::Address)?;
    let speaks = if word.is_empty() {
        LegacyProfile::Uc3mFixed
    } else {
        LegacyProfile::parse(word).ok_or(Wrong::Wire)?
    };
    Ok((name, UserConnection { address: SocketAddr::new(ip, port), speaks }))
}

/// Parse a publication.
///
/// # Errors
/// The first invalid field.
pub fn publication(fields: &[String]) -> Result<Publication, Wrong> {
    let [file, description] = fields else {
        return Err(Wrong::Fields(fields.len(), "file;description"));
    };
    let file = Line::new(file).filter(|file| !file.is_empty()).ok_or(Wrong::File)?;
    Ok(Publication { file, description: Line::new(description).ok_or(Wrong::Description)? })
}

fn user_name(text: &str) -> Result<UserName, Wrong> {
    // Names of the form of an address are reserved for peers without an account.
    UserName::new(text).ok().filter(|name| name.as_address().is_none()).ok_or(Wrong::User)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(text: &str) -> Result<Vec<Vec<String>>, Wrong> {
        let mut rows = Rows::new(text.as_bytes());
        let mut found = Vec::new();
        while let Some(row) = rows.next_row()? {
            found.push(row);
        }
        Ok(found)
    }

    #[test]
    fn only_fields_that_need_quotes_are_quoted() {
        let mut text = String::new();
        write(&["a.mp4", "plain text"], &mut text);
        write(&["a;b", "he said \"yes\""], &mut text);
        write(&["", "two\nlines\r\n"], &mut text);
        assert_eq!(
            text,
            "a.mp4;plain text\n\"a;b\";\"he said \"\"yes\"\"\"\n;\"two\nlines\r\n\"\n"
        );
        assert_eq!(
            rows(&text).unwrap(),
            [
                vec!["a.mp4", "plain text"],
                vec!["a;b", "he said \"yes\""],
                vec!["", "two\nlines\r\n"]
            ]
        );
    }

    #[test]
    fn files_of_other_programs_are_read() {
        assert_eq!(
            rows("\u{feff}ana;1\r\n\r\nrui;2").unwrap(),
            [vec!["ana", "1"], vec!["rui", "2"]]
        );
        assert_eq!(rows("a;5\" disk\n").unwrap(), [vec!["a", "5\" disk"]]);
        assert_eq!(rows("").unwrap(), Vec::<Vec<String>>::new());
        assert_eq!(rows("\"a\"").unwrap(), [vec!["a"]]);
    }

    #[test]
    fn an_error_names_its_line() {
        let wrong = |text: &str| {
            let mut rows = Rows::new(text.as_bytes());
            loop {
                match rows.next_row() {
                    Ok(Some(_)) => {}
                    Ok(None) => return None,
                    Err(wrong) => return Some((rows.line(), wrong.to_string())),
                }
            }
        };
        assert_eq!(wrong("a\n\"b\"c\n"), Some((2, Wrong::Quotes.to_string())));
        assert_eq!(wrong("a\nb\n\"c\nd"), Some((4, Wrong::Quotes.to_string())));
        let long = "x".repeat(ROW_BYTES + 1);
        assert_eq!(wrong(&format!("a\n{long}\n")), Some((2, Wrong::Long.to_string())));
        assert_eq!(
            wrong(&format!("\"{}", "x\n".repeat(ROW_BYTES))).map(|(_, text)| text),
            Some(Wrong::Long.to_string())
        );
        assert!(Rows::new(&b"\xff\n"[..]).next_row().is_err());
    }

    #[test]
    fn each_field_is_checked() {
        let fields = |text: &str| split(text).unwrap().unwrap();
        let key = "ab".repeat(32);
        assert_eq!(user(&fields("ana")).unwrap().1.key, None);
        assert_eq!(user(&fields("ana;")).unwrap().1.key, None);
        assert_eq!(user(&fields(&format!("ana;{key}"))).unwrap().1.key, Key::parse(&key));
        for text in ["", "../x", "a/b", "ana;zz", "ana;b;c", &format!("ana;01{}", "00".repeat(31))]
        {
            assert!(user(&fields(text)).is_err(), "{text}");
        }
        let (name, at) = connection(&fields("ana;localhost;4000")).unwrap();
        assert_eq!(
            (&*name, at.address.to_string().as_str(), at.speaks),
            ("ana", "127.0.0.1:4000", LegacyProfile::Uc3mFixed)
        );
        let (_, at) = connection(&fields("ana;::1;4000;uc3m-2024")).unwrap();
        assert_eq!(
            (at.address.to_string().as_str(), at.speaks),
            ("[::1]:4000", LegacyProfile::Uc3m2024)
        );
        for text in [
            "ana;1.2.3;4",
            "ana;1.2.3.4;0",
            "ana;1.2.3.4;70000",
            "ana;1.2.3.4;5;morse",
            "ana;1.2.3.4",
            "a/b;1.2.3.4;5",
        ] {
            assert!(connection(&fields(text)).is_err(), "{text}");
        }
        assert_eq!(&*publication(&fields("/tmp/a;")).unwrap().file, "/tmp/a");
        for text in [";x", "a", "a;b;c", "a\u{1b};b", "a;b\u{1b}"] {
            assert!(publication(&fields(text)).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn written_rows_are_read_back(table in proptest::collection::vec(proptest::collection::vec("[a;\"\r\n é\u{feff}]{0,8}", 2..4), 0..6)) {
            let mut text = String::new();
            for row in &table {
                write(&row.iter().map(String::as_str).collect::<Vec<_>>(), &mut text);
            }
            prop_assert_eq!(rows(&text).unwrap(), table);
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(proptest::sample::select(b"a;\"\r\n\xc3\xa9\xff".to_vec()), 0..80)) {
            let mut rows = Rows::new(&bytes[..]);
            while let Ok(Some(row)) = rows.next_row() {
                let _ = (user(&row).is_ok(), connection(&row).is_ok(), publication(&row).is_ok());
            }
        }
    }
}
