//! The relative path of a shared file, validated once.
//!
//! `aula1.mp4`, or `Cursos/2026/aula1.mp4` with subfolders. Each part is a valid [`FileName`], so
//! that no part leads up, out, or to the file of a download in progress.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use crate::limits;
use crate::protocol::types::file_name::{self, BadName, FileName};
use crate::protocol::types::ids::ContentHash;

/// Prefix of a content hash in place of a name.
pub const ROOT_PREFIX: &str = "b3:";

/// One to sixteen [`FileName`]s, joined by `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativeName(Rc<str>);

impl RelativeName {
    /// Check `text`.
    ///
    /// # Errors
    /// The first rule that `text` breaks.
    pub fn new(text: &str) -> Result<RelativeName, BadName> {
        // Nearly all names have a single part: those need no search for a separator.
        match file_name::check(text) {
            Ok(()) => return Ok(RelativeName(Rc::from(text))),
            Err(why) if !text.contains('/') => return Err(why),
            Err(_) => {}
        }
        if text.len() > limits::RELATIVE_BYTES || text.split('/').count() > limits::RELATIVE_PARTS {
            return Err(BadName::Deep);
        }
        for part in text.split('/') {
            match file_name::check(part) {
                // `/x`, `x/`, `a//b`: report the separator.
                Err(BadName::Empty) => return Err(BadName::Separator),
                other => other?,
            }
        }
        Ok(RelativeName(Rc::from(text)))
    }

    /// Restore a name that was checked before and kept as text.
    pub(crate) fn known(text: &str) -> RelativeName {
        RelativeName(Rc::from(text))
    }

    /// `b3:ROOT`: the name of a content without any other name.
    #[must_use]
    pub fn of_root(root: &ContentHash) -> RelativeName {
        RelativeName(Rc::from(format!("{ROOT_PREFIX}{root}")))
    }

    /// The content, for a name made by [`RelativeName::of_root`].
    #[must_use]
    pub fn as_root(&self) -> Option<ContentHash> {
        self.0.strip_prefix(ROOT_PREFIX).and_then(ContentHash::parse)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts, from the shared folder down.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The last part: the name of the file itself.
    #[must_use]
    pub fn file(&self) -> FileName {
        let last = self.0.rsplit('/').next().unwrap_or_default();
        // Every part was checked by `new`.
        FileName::new(last).unwrap_or_else(|_| FileName::placeholder())
    }

    /// The lower-case extension of the last part; empty when the name has none.
    #[must_use]
    pub fn extension(&self) -> String {
        self.file().extension()
    }

    /// True when a part starts with a dot.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.parts().any(|part| part.starts_with('.'))
    }
}

impl From<&FileName> for RelativeName {
    fn from(name: &FileName) -> RelativeName {
        RelativeName(Rc::from(name.as_str()))
    }
}

/// Names compare as their text does.
impl Borrow<str> for RelativeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Deref for RelativeName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelativeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RelativeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_folders() {
        for text in ["a", "a/b", "Cursos/2026/aula 1.mp4", "-rf/x", "dot./b"] {
            assert_eq!(RelativeName::new(text).map(|name| name.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(RelativeName::new("a/b/c.mp4").unwrap().file(), FileName::new("c.mp4").unwrap());
        assert!(RelativeName::new("a/.b/c").unwrap().is_hidden());
    }

    #[test]
    fn no_part_leads_up_or_out() {
        let deep = "a/".repeat(16) + "a";
        let long = format!("{}/x", "y".repeat(256));
        let cases = [
            ("../x", BadName::Dots),
            ("a/../../b", BadName::Dots),
            ("a/./b", BadName::Dots),
            ("/abs", BadName::Separator),
            ("a/", BadName::Separator),
            ("a//b", BadName::Separator),
            ("/", BadName::Separator),
            ("a\\b/c", BadName::Separator),
            ("a/b.part", BadName::Reserved),
            ("a.part/b", BadName::Reserved),
            ("a/b\u{202e}c", BadName::Direction),
            ("a/\nb", BadName::Control),
            (deep.as_str(), BadName::Deep),
            (long.as_str(), BadName::Long),
            ("", BadName::Empty),
        ];
        for (text, why) in cases {
            assert_eq!(RelativeName::new(text), Err(why), "{text:?}");
        }
    }
}
