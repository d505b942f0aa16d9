//! Conditional requests (RFC 9110, section 13, in the order of 13.2.2) and ranges (section 14).

use crate::protocol::http::date;
use crate::protocol::types::byte_range::ByteRange;

/// The conditional and range headers of a request.
#[derive(Debug, Default)]
pub(super) struct Preconditions {
    /// Lines of the same header are joined.
    if_match: Option<String>,
    if_none_match: Option<String>,
    if_unmodified_since: Option<String>,
    if_modified_since: Option<String>,
    if_range: Option<String>,
    range: Option<String>,
}

/// The outcome of the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PreconditionVerdict {
    /// The request proceeds.
    Proceed,
    /// 304: the client has this version.
    NotModified,
    /// 412: the version has changed.
    Failed,
}

/// The requested bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestedPart {
    /// All: no range, or an ignored one.
    Whole,
    /// This range.
    Range(ByteRange),
    /// 416: the range lies beyond the end.
    Unsatisfiable,
}

impl Preconditions {
    /// Record a header, by its lower-case name; others are ignored.
    pub(super) fn record(&mut self, name: &str, value: &str) {
        let place = match name {
            "if-match" => &mut self.if_match,
            "if-none-match" => &mut self.if_none_match,
            "if-unmodified-since" => &mut self.if_unmodified_since,
            "if-modified-since" => &mut self.if_modified_since,
            "if-range" => &mut self.if_range,
            "range" => &mut self.range,
            _ => return,
        };
        // Two lines of one header form a list. Where a list is invalid, the value becomes no date,
        // tag or range.
        match place {
            Some(before) => {
                before.push(',');
                before.push_str(value);
            }
            None => *place = Some(value.to_owned()),
        }
    }

    /// Evaluate the conditions against a tag and a modification time. A condition on an unknown
    /// value is ignored.
    pub(super) fn verdict(&self, etag: Option<&str>, modified: Option<i64>) -> PreconditionVerdict {
        let since = |text: &Option<String>| text.as_deref().and_then(date::read).zip(modified);
        if let Some(list) = &self.if_match {
            if !matches(list, etag, Compare::Strong) {
                return PreconditionVerdict::Failed;
            }
        } else if since(&self.if_unmodified_since).is_some_and(|(limit, modified)| modified > limit)
        {
            return PreconditionVerdict::Failed;
        }
        if let Some(list) = &self.if_none_match {
            if matches(list, etag, Compare::Weak) {
                return PreconditionVerdict::NotModified;
            }
        } else if since(&self.if_modified_since).is_some_and(|(limit, modified)| modified <= limit)
        {
            return PreconditionVerdict::NotModified;
        }
        PreconditionVerdict::Proceed
    }

    /// The requested range of a file of this size. A date in `If-Range` never matches: a file may
    /// change twice within one second.
    pub(super) fn part(&self, etag: &str, size: u64) -> RequestedPart {
        let same = self.if_range.as_deref().is_none_or(|known| known == etag);
        match self.range.as_deref().filter(|_| same).and_then(RequestedRange::read) {
            Some(range) => range.within(size),
            None => RequestedPart::Whole,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compare {
    Strong,
    Weak,
}

/// True for `*`, or a list that contains the tag. Tags may contain commas, so the list is parsed
/// quote by quote.
fn matches(list: &str, etag: Option<&str>, compare: Compare) -> bool {
    let mut rest = list.trim_matches([' ', '\t']);
    if rest == "*" {
        return true;
    }
    let Some(etag) = etag else { return false };
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (tag, is_weak) = match rest.strip_prefix("W/") {
            Some(tag) => (tag, true),
            None => (rest, false),
        };
        let Some(end) = tag.strip_prefix('"').and_then(|inner| inner.find('"')) else {
            return false;
        };
        let (tag, behind) = tag.split_at(end + 2);
        if tag == etag && !(is_weak && compare == Compare::Strong) {
            return true;
        }
        rest = behind;
    }
}

/// A range before the size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestedRange {
    From { first: u64, last: Option<u64> },
    Last(u64),
}

impl RequestedRange {
    /// Parse one byte range, with empty list elements. Anything else, multiple ranges included, is
    /// ignored, as the RFC permits.
    fn read(value: &str) -> Option<RequestedRange> {
        let (unit, set) = value.split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let mut specs = set
            .split(',')
            .map(|spec| spec.trim_matches([' ', '\t']))
            .filter(|spec| !spec.is_empty());
        let (spec, None) = (specs.next()?, specs.next()) else { return None };
        let number = |text: &str| -> Option<u64> {
            // A number beyond u64 lies beyond any file.
            (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
                .then(|| text.parse().unwrap_or(u64::MAX))
        };
        match spec.split_once('-')? {
            ("", count) => Some(RequestedRange::Last(number(count)?)),
            (first, "") => Some(RequestedRange::From { first: number(first)?, last: None }),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(RequestedRange::From { first, last: Some(last) })
            }
        }
    }

    /// Apply the range to a file of `size` bytes.
    fn within(self, size: u64) -> RequestedPart {
        let range = match self {
            // A suffix of an empty file is empty, and no `Content-Range` can express that.
            RequestedRange::Last(count) if count > 0 && size == 0 => return RequestedPart::Whole,
            RequestedRange::Last(0) => None,
            RequestedRange::Last(count) => {
                ByteRange::within(size.saturating_sub(count), None, size)
            }
            RequestedRange::From { first, .. } if first >= size => None,
            RequestedRange::From { first, last: None } => ByteRange::within(first, None, size),
            RequestedRange::From { first, last: Some(last) } => {
                ByteRange::within(first, Some((last - first).saturating_add(1)), size)
            }
        };
        range.map_or(RequestedPart::Unsatisfiable, RequestedPart::Range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"00000000000000a1\"";
    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const THEN: i64 = 784_111_777;
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn conditions(lines: &[(&str, &str)]) -> Preconditions {
        let mut all = Preconditions::default();
        lines.iter().for_each(|(name, value)| all.record(name, value));
        all
    }

    fn judged(lines: &[(&str, &str)]) -> PreconditionVerdict {
        conditions(lines).verdict(Some(TAG), Some(THEN))
    }

    #[test]
    fn conditions_follow_the_rfc() {
        let weak = "W/\"00000000000000a1\"";
        for (name, value, verdict) in [
            ("if-match", TAG, PreconditionVerdict::Proceed),
            ("if-match", "*", PreconditionVerdict::Proceed),
            ("if-match", " * ", PreconditionVerdict::Proceed),
            ("if-match", "\"x\", \"00000000000000a1\"", PreconditionVerdict::Proceed),
            ("if-match", "\"a,b\",,\"00000000000000a1\"", PreconditionVerdict::Proceed),
            ("if-match", "\"x\"", PreconditionVerdict::Failed),
            ("if-match", weak, PreconditionVerdict::Failed),
            ("if-match", "", PreconditionVerdict::Failed),
            ("if-match", "00000000000000a1", PreconditionVerdict::Failed),
            ("if-match", "\"x, \"00000000000000a1\"", PreconditionVerdict::Failed),
            ("if-match", "\"x\", *", PreconditionVerdict::Failed),
            ("if-none-match", TAG, PreconditionVerdict::NotModified),
            ("if-none-match", weak, PreconditionVerdict::NotModified),
            ("if-none-match", "*", PreconditionVerdict::NotModified),
            (
                "if-none-match",
                "\"x\",W/\"00000000000000a1\" , \"y\"",
                PreconditionVerdict::NotModified,
            ),
            ("if-none-match", "\"00000000000000a2\"", PreconditionVerdict::Proceed),
            ("if-none-match", "w/\"00000000000000a1\"", PreconditionVerdict::Proceed),
            ("if-none-match", "\",\"00000000000000a1\",\"", PreconditionVerdict::Proceed),
            ("if-unmodified-since", BEFORE, PreconditionVerdict::Failed),
            ("if-unmodified-since", AT, PreconditionVerdict::Proceed),
            ("if-unmodified-since", "never", PreconditionVerdict::Proceed),
            ("if-modified-since", BEFORE, PreconditionVerdict::Proceed),
            ("if-modified-since", AT, PreconditionVerdict::NotModified),
            ("if-modified-since", "0", PreconditionVerdict::Proceed),
        ] {
            assert_eq!(judged(&[(name, value)]), verdict, "{name}: {value}");
        }
    }

    #[test]
    fn conditions_are_evaluated_in_order() {
        assert_eq!(
            judged(&[("if-match", TAG), ("if-unmodified-since", BEFORE)]),
            PreconditionVerdict::Proceed
        );
        assert_eq!(
            judged(&[("if-none-match", "\"x\""), ("if-modified-since", AT)]),
            PreconditionVerdict::Proceed
        );
        assert_eq!(
            judged(&[("if-match", "\"x\""), ("if-none-match", TAG)]),
            PreconditionVerdict::Failed
        );
        assert_eq!(
            judged(&[("if-match", TAG), ("if-none-match", TAG)]),
            PreconditionVerdict::NotModified
        );
        assert_eq!(
            judged(&[("if-unmodified-since", BEFORE), ("if-none-match", TAG)]),
            PreconditionVerdict::Failed
        );
        assert_eq!(
            judged(&[("if-match", "\"x\""), ("if-match", TAG)]),
            PreconditionVerdict::Proceed
        );
        assert_eq!(
            judged(&[("if-modified-since", AT), ("if-modified-since", AT)]),
            PreconditionVerdict::Proceed
        );
    }

    #[test]
    fn conditions_on_unknown_values_are_ignored() {
        for name in ["if-unmodified-since", "if-modified-since"] {
            assert_eq!(
                conditions(&[(name, AT)]).verdict(Some(TAG), None),
                PreconditionVerdict::Proceed
            );
            assert_eq!(
                conditions(&[(name, BEFORE)]).verdict(Some(TAG), None),
                PreconditionVerdict::Proceed
            );
        }
        assert_eq!(
            conditions(&[("if-match", TAG)]).verdict(None, None),
            PreconditionVerdict::Failed
        );
        assert_eq!(
            conditions(&[("if-match", "*")]).verdict(None, None),
            PreconditionVerdict::Proceed
        );
        assert_eq!(
            conditions(&[("if-none-match", TAG)]).verdict(None, None),
            PreconditionVerdict::Proceed
        );
    }

    #[test]
    fn ranges_follow_the_rfc() {
        let part = |value: &str, size| conditions(&[("range", value)]).part(TAG, size);
        for (value, start, length) in [
            ("bytes=0-0", 0, 1),
            ("bytes=6-", 6, 5),
            ("bytes=6-100", 6, 5),
            ("bytes=-3", 8, 3),
            ("bytes=-100", 0, 11),
            ("bytes=2-99999999999999999999999", 2, 9),
            ("Bytes=0-0", 0, 1),
            ("BYTES=-3", 8, 3),
            ("bytes= 0-0", 0, 1),
            ("bytes=,0-0 ,", 0, 1),
        ] {
            assert_eq!(
                part(value, 11),
                RequestedPart::Range(ByteRange::new(start, length).unwrap()),
                "{value}"
            );
        }
        for value in ["bytes=11-", "bytes=99999999999999999999999-", "bytes=-0", "bytes=11-12"] {
            assert_eq!(part(value, 11), RequestedPart::Unsatisfiable, "{value}");
        }
        for value in [
            "bytes=0-1,3-4",
            "bytes=11-,12-",
            "lines=1-2",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=--1",
            "bytes=",
            "bytes=+1-2",
            "bytes 1-2",
            "bytes=0 - 1",
            "bytes =0-1",
            "",
            "=0-1",
        ] {
            assert_eq!(part(value, 11), RequestedPart::Whole, "{value}");
        }
        assert_eq!(
            conditions(&[("range", "bytes=0-1"), ("range", "bytes=0-1")]).part(TAG, 11),
            RequestedPart::Whole
        );
    }

    #[test]
    fn an_empty_file_has_a_suffix_range_only() {
        let part = |value: &str| conditions(&[("range", value)]).part(TAG, 0);
        assert_eq!(
            (part("bytes=-1"), part("bytes=-5"), part("bytes=-99999999999999999999")),
            (RequestedPart::Whole, RequestedPart::Whole, RequestedPart::Whole)
        );
        assert_eq!(
            (part("bytes=0-"), part("bytes=0-0"), part("bytes=-0")),
            (
                RequestedPart::Unsatisfiable,
                RequestedPart::Unsatisfiable,
                RequestedPart::Unsatisfiable
            )
        );
    }

    #[test]
    fn if_range_with_another_version_gets_the_whole_file() {
        let part =
            |known: &str| conditions(&[("range", "bytes=0-0"), ("if-range", known)]).part(TAG, 11);
        assert_eq!(part(TAG), RequestedPart::Range(ByteRange::new(0, 1).unwrap()));
        for known in ["\"x\"", "W/\"00000000000000a1\"", AT, "", "*", "\"x\", \"00000000000000a1\""]
        {
            assert_eq!(part(known), RequestedPart::Whole, "{known}");
        }
        assert_eq!(conditions(&[("if-range", "\"x\"")]).part(TAG, 11), RequestedPart::Whole);
    }
}
