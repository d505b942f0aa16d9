//! A file name, validated once.
//!
//! A name is a single path component that is safe to show on a terminal: no separator, no control
//! character, no bidirectional override. Names are compared byte by byte, without case folding or
//! normalisation, since names on disk are bytes as well.

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use crate::limits;

/// Suffixes reserved for downloads in progress; such files are never shared, listed or fetched.
pub const RESERVED_ENDINGS: [&str; 2] = [".part", ".part.record"];

/// A file name of 1 to 255 bytes of UTF-8, safe to open below a folder and safe to show.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Rc<str>);

/// The rule that a text breaks. `Display` completes the sentence "a file name must not".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// No bytes at all.
    Empty,
    /// More than 255 bytes.
    Long,
    /// `.` or `..`.
    Dots,
    /// `/` or `\`.
    Separator,
    /// NUL, ESC, a line break or another control character.
    Control,
    /// U+202E or another bidirectional control, which makes a name look like another.
    Direction,
    /// A suffix of [`RESERVED_ENDINGS`].
    Reserved,
    /// More than 16 parts or 1024 bytes.
    Deep,
}

impl FileName {
    /// Check `text`.
    ///
    /// # Errors
    /// The first rule that `text` breaks.
    pub fn new(text: &str) -> Result<FileName, BadName> {
        check(text)?;
        Ok(FileName(Rc::from(text)))
    }

    /// A placeholder where no valid name exists.
    pub(crate) fn placeholder() -> FileName {
        FileName(Rc::from("_"))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The lower-case extension, without the dot; empty when the name has none.
    #[must_use]
    pub fn extension(&self) -> String {
        match self.0.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => extension.to_ascii_lowercase(),
            _ => String::new(),
        }
    }
}

/// Check the rules of a name, in the order in which errors are reported.
///
/// # Errors
/// The first rule that `text` breaks.
pub fn check(text: &str) -> Result<(), BadName> {
    if text.is_empty() {
        return Err(BadName::Empty);
    }
    if text.len() > limits::NAME_BYTES {
        return Err(BadName::Long);
    }
    if text == "." || text == ".." {
        return Err(BadName::Dots);
    }
    // Nearly no name has such a byte: a test without a branch for each.
    if text.bytes().fold(false, |found, byte| found | is_forbidden(byte)) {
        return Err(match text.bytes().find(|byte| is_forbidden(*byte)) {
            Some(b'/' | b'\\') => BadName::Separator,
            _ => BadName::Control,
        });
    }
    if !text.is_ascii() {
        for c in text.chars() {
            if is_control(c) {
                return Err(BadName::Control);
            }
            if is_bidi_control(c) {
                return Err(BadName::Direction);
            }
        }
    }
    if RESERVED_ENDINGS.iter().any(|ending| ends_with_folded(text, ending)) {
        return Err(BadName::Reserved);
    }
    Ok(())
}

/// A separator, or an ASCII control character.
fn is_forbidden(byte: u8) -> bool {
    (byte < 0x20) | (byte == 0x7f) | (byte == b'/') | (byte == b'\\')
}

/// Replace control and bidirectional characters of a text that is no name, such as the text of
/// another side's error.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_control(c) || is_bidi_control(c) { '\u{fffd}' } else { c }).collect()
}

fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn ends_with_folded(text: &str, ending: &str) -> bool {
    let (text, ending) = (text.as_bytes(), ending.as_bytes());
    text.len() >= ending.len() && text[text.len() - ending.len()..].eq_ignore_ascii_case(ending)
}

impl Deref for FileName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadName::Empty => "be empty",
            BadName::Long => "be longer than 255 bytes",
            BadName::Dots => "be . or ..",
            BadName::Separator => "hold a path separator",
            BadName::Control => "hold a control character",
            BadName::Direction => "hold a character that turns the direction of text",
            BadName::Deep => "have more than 16 parts or 1024 bytes",
            BadName::Reserved => "end in .part or .part.record",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyday_names_are_accepted_unchanged() {
        for name in [
            "a",
            "aula1.mp4",
            "Vídeo da praia.mkv",
            "-rf",
            "CON",
            "NUL.mp4",
            "a:b",
            "dot.",
            "space ",
            ".hidden",
            "日本.mov",
            "a.party",
        ] {
            assert_eq!(FileName::new(name).map(|n| n.to_string()), Ok(name.to_string()));
        }
    }

    #[test]
    fn each_class_of_hostile_name_is_refused_for_its_own_reason() {
        let long = "x".repeat(256);
        let cases = [
            ("", BadName::Empty),
            (long.as_str(), BadName::Long),
            (".", BadName::Dots),
            ("..", BadName::Dots),
            ("../x", BadName::Separator),
            ("..\\x", BadName::Separator),
            ("/abs", BadName::Separator),
            ("C:\\x", BadName::Separator),
            ("\\\\host\\x", BadName::Separator),
            ("a/../../b", BadName::Separator),
            (".ssh/authorized_keys", BadName::Separator),
            ("a\0b", BadName::Control),
            ("a\nb", BadName::Control),
            ("\u{1b}[2Jx", BadName::Control),
            ("a\u{9b}2J", BadName::Control),
            ("a\u{2028}b", BadName::Control),
            ("gpj\u{202e}.exe", BadName::Direction),
            ("x\u{2066}", BadName::Direction),
            ("a.mp4.part", BadName::Reserved),
            ("a.mp4.PART.record", BadName::Reserved),
            (".part", BadName::Reserved),
        ];
        for (text, why) in cases {
            assert_eq!(FileName::new(text), Err(why), "{text:?}");
        }
        assert!(FileName::new(&"x".repeat(255)).is_ok());
    }

    #[test]
    fn forbidden_bytes_are_found_wherever_they_are() {
        for (at, byte) in (0..40).flat_map(|at| (0..0x80_u8).map(move |byte| (at, byte))) {
            let mut text = [b'x'; 40];
            text[at] = byte;
            let rule = match char::from(byte) {
                '/' | '\\' => Err(BadName::Separator),
                c if c.is_control() => Err(BadName::Control),
                _ => Ok(()),
            };
            assert_eq!(check(std::str::from_utf8(&text).unwrap()), rule, "{byte} at {at}");
        }
        // The first one decides.
        assert_eq!(check("a/\n"), Err(BadName::Separator));
        assert_eq!(check("a\n/"), Err(BadName::Control));
    }

    #[test]
    fn names_are_compared_byte_by_byte() {
        assert_ne!(FileName::new("caf\u{e9}"), FileName::new("cafe\u{301}"));
        assert_ne!(FileName::new("A"), FileName::new("a"));
    }

    #[test]
    fn control_characters_of_remote_texts_are_replaced() {
        assert_eq!(printable("a\u{1b}[31m\nb\u{202e}"), "a\u{fffd}[31m\u{fffd}b\u{fffd}");
    }

    #[test]
    fn an_extension_is_what_follows_the_last_dot() {
        let extension = |text: &str| FileName::new(text).map(|n| n.extension()).unwrap_or_default();
        assert_eq!(extension("a.tar.GZ"), "gz");
        assert_eq!(extension(".bashrc"), "");
        assert_eq!(extension("plain"), "");
    }
}
