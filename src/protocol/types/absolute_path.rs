//! An absolute path, as some older programs name a file. The text alone: no path leads to a file
//! except through the name of a shared one.

use std::fmt;
use std::rc::Rc;

use crate::protocol::types::file_name::{self, BadName, FileName};
use crate::protocol::types::relative_path::RelativeName;

/// `/dir/a.mp4`: no part is empty, `.` or `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AbsolutePath(Rc<str>);

impl AbsolutePath {
    /// Check `text`; repeated separators and parts `.` are left out. `None` for a relative path, for
    /// one that leads up, for one without a part, and for one that can't be shown.
    #[must_use]
    pub fn new(text: &str) -> Option<AbsolutePath> {
        let rest = text.strip_prefix('/')?;
        let parts: Vec<&str> = rest.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let is_whole = !parts.is_empty() && !parts.contains(&"..") && !rest.ends_with('/');
        (is_whole && file_name::printable(text) == text)
            .then(|| AbsolutePath(Rc::from(format!("/{}", parts.join("/")))))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder and the last part; the folder `/` is one as well.
    ///
    /// # Errors
    /// When the last part is no valid name of a file.
    pub fn split(&self) -> Result<(&str, FileName), BadName> {
        let (folder, file) = self.0.rsplit_once('/').unwrap_or(("", &self.0));
        Ok((if folder.is_empty() { "/" } else { folder }, FileName::new(file)?))
    }

    /// The path without its first separator: the name in the index, and of a file in the top of a
    /// share.
    ///
    /// # Errors
    /// When that is no valid name.
    pub fn below_root(&self) -> Result<RelativeName, BadName> {
        RelativeName::new(self.0.strip_prefix('/').unwrap_or(&self.0))
    }
}

impl fmt::Debug for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        for text in ["/tmp/a b.mp4", "//tmp/a b.mp4", "/./tmp//./a b.mp4", "/tmp/./a b.mp4"] {
            let path = AbsolutePath::new(text).unwrap();
            assert_eq!(path.as_str(), "/tmp/a b.mp4", "{text}");
            assert_eq!(path.split(), Ok(("/tmp", FileName::new("a b.mp4").unwrap())));
            assert_eq!(path.below_root().unwrap().as_str(), "tmp/a b.mp4");
        }
        let top = AbsolutePath::new("/a").unwrap();
        assert_eq!(top.split(), Ok(("/", FileName::new("a").unwrap())));
        for text in [
            "",
            "/",
            "//",
            "/.",
            "a",
            "./a",
            "../a",
            "/..",
            "/tmp/../a",
            "/tmp/..",
            "/tmp/",
            "~/a",
            "C:\\a",
            "\\\\host\\a",
            "/a\0b",
            "/a\nb",
            "/a\u{1b}[2J",
            "/a\u{202e}b",
        ] {
            assert_eq!(AbsolutePath::new(text), None, "{text:?}");
        }
        for text in ["/tmp/a.part", "/a:b/..c/\u{0}x"] {
            let path = AbsolutePath::new(text);
            assert!(path.is_none_or(|path| path.split().is_err()), "{text:?}");
        }
        let deep = format!("/{}a", "x/".repeat(200));
        assert!(AbsolutePath::new(&deep).unwrap().below_root().is_err());
    }
}
