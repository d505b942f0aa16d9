//! Metrics of a process: iteration times, sizes, request counts.

use std::borrow::Cow;

/// One figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// What it counts: small letters and underscores, at most [`limits::FIGURE_NAME`](crate::limits::FIGURE_NAME) of them.
    pub name: Cow<'static, str>,
    /// Which of several of that name.
    pub of: Option<Cow<'static, str>>,
    /// In what.
    pub unit: Unit,
    /// It only grows.
    pub total: bool,
    /// How much.
    pub value: u64,
}

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    Nanoseconds,
}

impl Unit {
    /// All of them.
    const ALL: [Unit; 3] = [Unit::Count, Unit::Bytes, Unit::Nanoseconds];

    /// Its word on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Unit::Count => "count",
            Unit::Bytes => "bytes",
            Unit::Nanoseconds => "ns",
        }
    }

    /// The one of this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Unit> {
        Unit::ALL.into_iter().find(|unit| unit.word() == word)
    }
}

impl Metric {
    /// How many there are now.
    #[must_use]
    pub fn now(name: &'static str, value: u64) -> Metric {
        Metric { name: Cow::Borrowed(name), of: None, unit: Unit::Count, total: false, value }
    }

    /// How many there were since the process began.
    #[must_use]
    pub fn total(name: &'static str, value: u64) -> Metric {
        Metric { total: true, ..Metric::now(name, value) }
    }

    /// The same, of this one among several.
    #[must_use]
    pub fn of(self, which: &'static str) -> Metric {
        Metric { of: Some(Cow::Borrowed(which)), ..self }
    }

    /// The same, in this unit.
    #[must_use]
    pub fn in_unit(self, unit: Unit) -> Metric {
        Metric { unit, ..self }
    }
}

/// True for what a figure, or one of several, may be called.
#[must_use]
pub fn is_name(text: &str, most: usize) -> bool {
    !text.is_empty()
        && text.len() <= most
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_found_by_its_word() {
        for unit in Unit::ALL {
            assert_eq!(Unit::of_word(unit.word()), Some(unit));
        }
        assert_eq!(Unit::of_word("miles"), None);
    }

    #[test]
    fn a_name_is_plain() {
        assert!(is_name("loop_iteration", 32) && is_name("0.99", 8));
        assert!(
            !is_name("", 8)
                && !is_name("a b", 8)
                && !is_name("Ä", 8)
                && !is_name("abcdefghi", 8)
                && !is_name("a\"", 8)
        );
    }
}
