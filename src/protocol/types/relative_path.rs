//! The relative path of a shared file, validated once.
//!
//! `aula1.mp4`, or `Cursos/2026/aula1.mp4` where subfolders are shared: parts with one `/` between them, each of them a good [`FileName`], so that
//! no part leads up, out, or to a file that is kept for a download.

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use crate::limits;
use crate::protocol::types::file_name::{self, BadName, FileName};
use crate::protocol::types::ids::ContentHash;

/// What a root begins with where a name could stand.
pub const ROOT_PREFIX: &str = "b3:";

/// One to sixteen [`FileName`]s, joined by `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativeName(Rc<str>);

impl RelativeName {
    /// Checks `text` and makes it a name.
    ///
    /// # Errors
    /// The first rule that `text` breaks.
    pub fn new(text: &str) -> Result<RelativeName, BadName> {
        if !text.contains('/') {
            file_name::check(text)?;
            return Ok(RelativeName(Rc::from(text)));
        }
        if text.len() > limits::RELATIVE_BYTES || text.split('/').count() > limits::RELATIVE_PARTS {
            return Err(BadName::Deep);
        }
        for part in text.split('/') {
            match file_name::check(part) {
                // `/x`, `x/`, `a//b`: the separator is what is wrong.
                Err(BadName::Empty) => return Err(BadName::Separator),
                other => other?,
            }
        }
        Ok(RelativeName(Rc::from(text)))
    }

    /// What was a name before, and was kept as its text.
    pub(crate) fn known(text: &str) -> RelativeName {
        RelativeName(Rc::from(text))
    }

    /// `b3:ROOT`: how a content is called while it has no other name.
    #[must_use]
    pub fn of_root(root: &ContentHash) -> RelativeName {
        RelativeName(Rc::from(format!("{ROOT_PREFIX}{root}")))
    }

    /// The content that a name made by [`RelativeName::of_root`] stands for.
    #[must_use]
    pub fn as_root(&self) -> Option<ContentHash> {
        self.0.strip_prefix(ROOT_PREFIX).and_then(ContentHash::parse)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its parts, from the shared folder down.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Its last part: the name of the file itself.
    #[must_use]
    pub fn file(&self) -> FileName {
        let last = self.0.rsplit('/').next().unwrap_or_default();
        // Each part was checked; were it not good, the whole would have no such part.
        FileName::new(last).unwrap_or_else(|_| FileName::nameless())
    }

    /// What follows the last dot of the last part, in lower case; empty when there is none.
    #[must_use]
    pub fn extension(&self) -> String {
        self.file().extension()
    }

    /// True when a part begins with a dot: what is hidden is a person's own affair.
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
    fn a_name_may_lead_through_folders() {
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
