//! What a server needs to know of its own certificate: DNS names and validity (RFC 5280). rustls
//! checks names and chains, and reveals neither.

use crate::protocol::http::date::days_before;

/// A sequence.
const SEQUENCE: u8 = 0x30;
/// The version of a certificate, in a tag of its own.
const VERSION: u8 = 0xa0;
/// The extensions of a certificate, in a tag of their own.
const EXTENSIONS: u8 = 0xa3;
/// A true or false value.
const BOOLEAN: u8 = 0x01;
/// Bytes.
const OCTETS: u8 = 0x04;
/// An object identifier.
const OID: u8 = 0x06;
/// A time with two digits of the year.
const UTC_TIME: u8 = 0x17;
/// A time with four digits of the year.
const GENERALIZED_TIME: u8 = 0x18;
/// A DNS name among the alternative names.
const DNS_NAME: u8 = 0x82;
/// The identifier of the alternative names, 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// DNS names of a certificate: public authorities sign at most a hundred.
const NAMES: usize = 1_000;

/// Facts of a certificate.
#[derive(Debug, PartialEq, Eq)]
pub struct Facts {
    /// The DNS names in lower case; a name may begin with `*.`.
    pub names: Vec<String>,
    /// The first second of the validity, since 1970.
    pub from: i64,
    /// The last second of the validity, since 1970.
    pub until: i64,
}

/// The facts of a certificate; `None` for a malformed one.
pub fn facts(certificate: &[u8]) -> Option<Facts> {
    let mut outer = DerReader(DerReader(certificate).take(SEQUENCE)?);
    let mut content = DerReader(outer.take(SEQUENCE)?);
    content.take_if(VERSION);
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        content.next()?;
    }
    let mut validity = DerReader(content.take(SEQUENCE)?);
    let (from, until) = (time(validity.next()?)?, time(validity.next()?)?);
    // Subject and key.
    for _ in 0..2 {
        content.next()?;
    }
    let mut names = Vec::new();
    while let Some((tag, bytes)) = content.next() {
        if tag == EXTENSIONS {
            let mut extensions = DerReader(DerReader(bytes).take(SEQUENCE)?);
            while let Some(extension) = extensions.take_if(SEQUENCE) {
                put_names(extension, &mut names)?;
            }
        }
    }
    Some(Facts { names, from, until })
}

/// Adds the DNS names of an extension, if it has the alternative names.
fn put_names(extension: &[u8], names: &mut Vec<String>) -> Option<()> {
    let mut fields = DerReader(extension);
    if fields.take(OID)? != SUBJECT_ALT_NAME {
        return Some(());
    }
    fields.take_if(BOOLEAN);
    let mut all = DerReader(DerReader(fields.take(OCTETS)?).take(SEQUENCE)?);
    while let Some((tag, bytes)) = all.next() {
        if tag == DNS_NAME && names.len() < NAMES {
            let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_*".contains(byte);
            let name = std::str::from_utf8(bytes).ok().filter(|_| bytes.iter().all(is_plain))?;
            names.push(name.to_ascii_lowercase());
        }
    }
    Some(())
}

/// The seconds since 1970 of a time.
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number =
        |digits: &[u8]| digits.iter().fold(0, |all, digit| 10 * all + i64::from(digit - b'0'));
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(&digits[..2]);
            (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let part = |place: usize| number(&rest[2 * place..2 * place + 2]);
    let (month, day) = (part(0), part(1));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_before(year, month, day);
    Some(days * 86_400 + part(2) * 3_600 + part(3) * 60 + part(4))
}

/// Reads values one after another; each has a tag, a length and bytes.
struct DerReader<'a>(&'a [u8]);

impl<'a> DerReader<'a> {
    /// The next value with its tag. `None` at the end, and for a value that is cut.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // Lengths of one to three bytes: a certificate is no larger.
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                (bytes.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// The next value, which must have this tag.
    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, value)| value)
    }

    /// The next value if it has this tag.
    fn take_if(&mut self, wanted: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&wanted) { self.take(wanted) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).expect("a short value").to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    /// A certificate of these alternative names, valid from 1999 to 2051.
    fn certificate(names: &[(u8, &[u8])]) -> Vec<u8> {
        let names: Vec<u8> = names.iter().flat_map(|(tag, name)| value(*tag, name)).collect();
        let names = value(OCTETS, &value(SEQUENCE, &names));
        let critical = value(BOOLEAN, &[0xff]);
        let extension = [value(OID, SUBJECT_ALT_NAME), critical, names].concat();
        let other = [value(OID, &[0x55, 0x1d, 0x0f]), value(OCTETS, &[3, 2, 5, 0xa0])].concat();
        let extensions = [value(SEQUENCE, &other), value(SEQUENCE, &extension)].concat();
        let validity =
            [value(UTC_TIME, b"991231235959Z"), value(GENERALIZED_TIME, b"20510101000000Z")];
        let content = [
            value(VERSION, &value(2, &[2])),
            value(2, &[1]),
            value(SEQUENCE, &[]),
            value(SEQUENCE, &[]),
            value(SEQUENCE, &validity.concat()),
            value(SEQUENCE, &[]),
            value(SEQUENCE, &[]),
            value(EXTENSIONS, &value(SEQUENCE, &extensions)),
        ];
        value(SEQUENCE, &[value(SEQUENCE, &content.concat()), value(3, &[0])].concat())
    }

    #[test]
    fn names_and_validity_are_read() {
        let read = facts(&certificate(&[
            (DNS_NAME, b"Video.example.org"),
            (0x87, &[10, 0, 0, 1]),
            (DNS_NAME, b"*.video.example.org"),
        ]));
        let names = ["video.example.org", "*.video.example.org"].map(str::to_owned).to_vec();
        // date -d 1999-12-31T23:59:59Z +%s; date -d 2051-01-01T00:00:00Z +%s
        assert_eq!(read, Some(Facts { names, from: 946_684_799, until: 2_556_144_000 }));
        assert_eq!(facts(&certificate(&[])).expect("no names").names, [""; 0]);
    }

    #[test]
    fn a_cut_or_changed_certificate_is_none_or_other_facts() {
        let whole = certificate(&[(DNS_NAME, b"a.example")]);
        for end in 0..whole.len() {
            let _ = facts(&whole[..end]);
        }
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[place] ^= 1 << bit;
                let _ = facts(&changed);
            }
        }
        assert_eq!(facts(&whole[..whole.len() - 1]).map(|facts| facts.names), None);
        assert_eq!(facts(&certificate(&[(DNS_NAME, b"a b")])), None);
        assert_eq!(facts(&certificate(&[(DNS_NAME, &[0xff])])), None);
    }

    #[test]
    fn a_time_is_of_the_calendar() {
        for (tag, text, wanted) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "240229120000Z", Some(1_709_208_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (UTC_TIME, "241301000000Z", None),
            (UTC_TIME, "2402291200Z", None),
            (UTC_TIME, "240229120000", None),
            (GENERALIZED_TIME, "240229120000Z", None),
            (0x0c, "240229120000Z", None),
        ] {
            assert_eq!(time((tag, text.as_bytes())), wanted, "{text}");
        }
    }
}
