//! Metrics of a process: loop iteration times, sizes, request counts.

use std::borrow::Cow;

/// One metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Lower-case letters, digits, `_`, `.` and `-`, at most
    /// [`limits::METRIC_NAME_BYTES`](crate::limits::METRIC_NAME_BYTES).
    pub name: Cow<'static, str>,
    /// The label, where several metrics share a name.
    pub of: Option<Cow<'static, str>>,
    /// Unit of the value.
    pub unit: Unit,
    /// A counter, which only grows; otherwise a gauge.
    pub total: bool,
    /// The value.
    pub value: u64,
}

/// Unit of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of items.
    Count,
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    Nanoseconds,
}

impl Unit {
    const ALL: [Unit; 3] = [Unit::Count, Unit::Bytes, Unit::Nanoseconds];

    /// The unit on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Count => "count",
            Unit::Bytes => "bytes",
            Unit::Nanoseconds => "ns",
        }
    }

    /// Parse the unit of the wire.
    #[must_use]
    pub fn parse(word: &str) -> Option<Unit> {
        Unit::ALL.into_iter().find(|unit| unit.as_str() == word)
    }
}

impl Metric {
    /// A gauge.
    #[must_use]
    pub fn now(name: &'static str, value: u64) -> Metric {
        Metric { name: Cow::Borrowed(name), of: None, unit: Unit::Count, total: false, value }
    }

    /// A counter since the start of the process.
    #[must_use]
    pub fn total(name: &'static str, value: u64) -> Metric {
        Metric { total: true, ..Metric::now(name, value) }
    }

    /// Set the label.
    #[must_use]
    pub fn of(self, which: &'static str) -> Metric {
        Metric { of: Some(Cow::Borrowed(which)), ..self }
    }

    /// Set the unit.
    #[must_use]
    pub fn in_unit(self, unit: Unit) -> Metric {
        Metric { unit, ..self }
    }
}

/// True for a valid name or label of at most `most` bytes.
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
    fn units_round_trip() {
        for unit in Unit::ALL {
            assert_eq!(Unit::parse(unit.as_str()), Some(unit));
        }
        assert_eq!(Unit::parse("miles"), None);
    }

    #[test]
    fn names_are_plain_ascii() {
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
