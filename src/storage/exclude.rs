//! Patterns of names that are not shared, in the syntax of `.gitignore`.
//!
//! ```text
//! # comment        nothing
//! *.iso            files and folders of such names, in any folder
//! /drafts          only at the top of the shared folder, like any pattern with a `/` in the middle
//! tmp/             only folders, with their content
//! !keep.iso        not excluded after all; but nothing below an excluded folder comes back
//! a/**/b           `**` stands for any number of folders
//! \#x \!x          a name that begins with such a character
//! ```
//!
//! `*` and `?` never match a `/`; `[a-z]` and `[!a-z]` are classes. The last matching pattern
//! decides.

use crate::limits;

/// Exclusion patterns: each name is matched against all.
const MAX_PATTERNS: usize = 1_000;

/// Default patterns: files of systems and browsers.
pub const DEFAULTS: [&str; 7] = [
    "lost+found/",
    "$RECYCLE.BIN/",
    "System Volume Information/",
    "Thumbs.db",
    "desktop.ini",
    "*.crdownload",
    "*.sqlite-shm",
];

/// Patterns, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excludes {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    keeps: bool,
    folders_only: bool,
    /// Parts of the path; an unanchored pattern begins with `**`.
    parts: Vec<Vec<char>>,
}

impl Excludes {
    /// The default patterns.
    #[must_use]
    pub fn usual() -> Excludes {
        let mut usual = Excludes::default();
        for line in DEFAULTS {
            usual.add(line);
        }
        usual
    }

    /// Add the lines of a pattern file, up to the limit.
    pub fn read(&mut self, text: &str) {
        for line in text.trim_start_matches('\u{feff}').lines() {
            self.add(line);
        }
    }

    /// Add a line; false if too long, or beyond the limit.
    pub fn add(&mut self, line: &str) -> bool {
        let line = unpadded(line.strip_suffix('\r').unwrap_or(line));
        if line.is_empty() || line.starts_with('#') {
            return true;
        }
        if line.len() > limits::RELATIVE_BYTES || self.rules.len() >= MAX_PATTERNS {
            return false;
        }
        let (keeps, pattern) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        let (folders_only, pattern) =
            pattern.strip_suffix('/').map_or((false, pattern), |rest| (true, rest));
        let anchored = pattern.contains('/');
        let mut parts: Vec<Vec<char>> = pattern
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| part.chars().collect())
            .collect();
        if parts.is_empty() {
            return true;
        }
        if !anchored {
            parts.insert(0, vec!['*', '*']);
        }
        parts.dedup_by(|a, b| a == b && a[..] == ['*', '*']);
        self.rules.push(Rule { keeps, folders_only, parts });
        true
    }

    /// Append the patterns of `others`.
    pub fn extend(&mut self, others: &Excludes) {
        let room = MAX_PATTERNS.saturating_sub(self.rules.len());
        self.rules.extend(others.rules.iter().take(room).cloned());
    }

    /// True if this entry itself is excluded, regardless of the folders above.
    #[must_use]
    pub fn bars(&self, name: &str, is_folder: bool) -> bool {
        let parts: Vec<Vec<char>> = name.split('/').map(|part| part.chars().collect()).collect();
        let last = self
            .rules
            .iter()
            .rev()
            .find(|rule| (is_folder || !rule.folders_only) && matches(&rule.parts, &parts));
        last.is_some_and(|rule| !rule.keeps)
    }

    /// True if the file, or a folder above, is excluded.
    #[must_use]
    pub fn bars_file(&self, name: &str) -> bool {
        !self.rules.is_empty()
            && (name.match_indices('/').any(|(at, _)| self.bars(&name[..at], true))
                || self.bars(name, false))
    }
}

/// Trim trailing blanks, except an escaped blank.
fn unpadded(line: &str) -> &str {
    let bare = line.trim_end_matches([' ', '\t']);
    let escapes = bare.len() - bare.trim_end_matches('\\').len();
    let end = if escapes % 2 == 1 && bare.len() < line.len() { bare.len() + 1 } else { bare.len() };
    &line[..end]
}

/// True if `name` matches `pattern`, part by part. Backtracking to the last `**` is enough: it
/// matches whatever an earlier one could.
fn matches(pattern: &[Vec<char>], name: &[Vec<char>]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p).is_some_and(|part| part[..] == ['*', '*']) {
            // A final `**` matches the content of a folder, not the folder.
            if p + 1 == pattern.len() {
                return n < name.len();
            }
            back = Some((p, n));
            p += 1;
        } else if n == name.len() {
            return p == pattern.len();
        } else if pattern.get(p).is_some_and(|part| part_matches(part, &name[n])) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((star, from)) = back {
            back = Some((star, from + 1));
            (p, n) = (star + 1, from + 1);
        } else {
            return false;
        }
    }
}

fn part_matches(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&'*') {
            back = Some((p, n));
            p += 1;
            continue;
        }
        if n == name.len() && p == pattern.len() {
            return true;
        }
        let step = name.get(n).and_then(|c| one(&pattern[p..], *c));
        match (step, back) {
            (Some(length), _) => (p, n) = (p + length, n + 1),
            (None, Some((star, from))) if from < name.len() => {
                back = Some((star, from + 1));
                (p, n) = (star + 1, from + 1);
            }
            _ => return false,
        }
    }
}

/// Length of the pattern that matched `c`; `None` without a match.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['\\', escaped, ..] => (*escaped == c).then_some(2),
        ['[', rest @ ..] => match class(rest, c) {
            Some((is_in, length)) => is_in.then_some(length + 1),
            // Without a closing bracket the opening bracket is a plain character.
            None => (c == '[').then_some(1),
        },
        [plain, ..] => (*plain == c).then_some(1),
        [] => None,
    }
}

/// Whether `c` is in this class, and the length of the class.
fn class(pattern: &[char], c: char) -> Option<(bool, usize)> {
    let negated = matches!(pattern.first(), Some('!' | '^'));
    let start = usize::from(negated);
    let (mut at, mut is_in) = (start, false);
    loop {
        let mut low = *pattern.get(at)?;
        if low == ']' && at > start {
            return Some((is_in != negated, at + 1));
        }
        if low == '\\' {
            at += 1;
            low = *pattern.get(at)?;
        }
        at += 1;
        let mut high = low;
        if pattern.get(at) == Some(&'-') && pattern.get(at + 1).is_some_and(|c| *c != ']') {
            high = pattern[at + 1];
            at += 2;
        }
        is_in |= (low..=high).contains(&c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excludes(text: &str) -> Excludes {
        let mut excludes = Excludes::default();
        excludes.read(text);
        excludes
    }

    #[test]
    fn patterns_mean_what_they_mean_in_a_gitignore() {
        for (pattern, barred, free) in [
            ("*.iso", &["a.iso", "S/a.iso", ".iso"][..], &["a.isos", "iso", "a.ISO"][..]),
            ("/a", &["a", "a/b"], &["S/a"]),
            ("S/a", &["S/a", "S/a/b"], &["T/S/a", "a"]),
            ("tmp/", &["tmp/a", "S/tmp/a"], &["tmp", "S/tmp"]),
            ("**/a", &["a", "S/a", "S/T/a"], &["ab"]),
            ("S/**", &["S/a", "S/T/a"], &["S", "T/a"]),
            ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["b", "a/x", "x/a/b"]),
            ("a?c", &["abc", "aéc"], &["ac", "a/c"]),
            ("[a-c]x", &["ax", "cx"], &["dx", "x"]),
            ("[!a-c]x", &["dx"], &["ax"]),
            ("[]]x", &["]x"], &["ax"]),
            ("[x", &["[x"], &["x"]),
            ("\\#a", &["#a"], &["a"]),
            ("\\!a", &["!a"], &["a"]),
            ("# a", &[], &["# a", "a"]),
            ("a\\*", &["a*"], &["ab"]),
            ("a  ", &["a"], &["a  "]),
            ("a\\ ", &["a "], &["a"]),
            ("a\r", &["a"], &["a\r"]),
            ("*a*b*c", &["xaybzc", "abc"], &["acb"]),
            ("/", &[], &["a", "S/a"]),
        ] {
            let excludes = excludes(pattern);
            for name in barred {
                assert!(excludes.bars_file(name), "{pattern:?} must exclude {name:?}");
            }
            for name in free {
                assert!(!excludes.bars_file(name), "{pattern:?} must not exclude {name:?}");
            }
        }
    }

    #[test]
    fn the_last_match_decides_but_nothing_returns_from_an_excluded_folder() {
        let excludes = excludes("\u{feff}*.iso\n!good.iso\ndrafts/\n!drafts/a\n\n# end\n");
        assert!(
            excludes.bars_file("bad.iso")
                && !excludes.bars_file("good.iso")
                && !excludes.bars_file("S/good.iso")
        );
        assert!(excludes.bars_file("drafts/a"));
        let mut both = Excludes::usual();
        both.read("!Thumbs.db");
        assert!(
            !both.bars_file("Thumbs.db")
                && both.bars_file("desktop.ini")
                && both.bars_file("lost+found/a")
        );
    }

    #[test]
    fn patterns_are_limited_and_a_hostile_one_is_quick() {
        let mut excludes = Excludes::default();
        for _ in 0..MAX_PATTERNS {
            assert!(excludes.add("*a*a*a*a*a*a*a*b"));
        }
        assert!(
            !excludes.add("x") && !Excludes::default().add(&"x".repeat(limits::RELATIVE_BYTES + 1))
        );
        assert!(!excludes.bars_file(&"a".repeat(100)));
        assert!(!super::matches(
            &[vec!['*', '*'], vec!['x']].iter().cycle().take(100).cloned().collect::<Vec<_>>(),
            &vec![vec!['y']; 16]
        ));
    }
}
