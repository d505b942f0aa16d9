//! Metrics as STATUS has them: encoded and decoded by the same shape.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::protocol::metric::{self, Metric, Unit};

/// One of them.
#[derive(Serialize, Deserialize)]
pub(super) struct FigureShape<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    of: Option<Cow<'a, str>>,
    #[serde(borrow)]
    unit: Cow<'a, str>,
    #[serde(default)]
    total: bool,
    value: u64,
}

impl<'a> FigureShape<'a> {
    /// As it goes out.
    pub(super) fn of(figure: &'a Metric) -> FigureShape<'a> {
        let Metric { name, of, unit, total, value } = figure;
        let value = (*value).min(limits::LARGEST_INTEGER);
        FigureShape {
            name: Cow::Borrowed(name),
            of: of.as_deref().map(Cow::Borrowed),
            unit: Cow::Borrowed(unit.word()),
            total: *total,
            value,
        }
    }

    /// What came in, where it is one that can be shown.
    pub(super) fn figure(self) -> Option<Metric> {
        let good = |text: &str| metric::is_name(text, limits::FIGURE_NAME);
        if !good(&self.name) || self.of.as_deref().is_some_and(|of| !good(of)) {
            return None;
        }
        let of = self.of.map(|of| Cow::Owned(of.into_owned()));
        Some(Metric {
            name: Cow::Owned(self.name.into_owned()),
            of,
            unit: Unit::of_word(&self.unit)?,
            total: self.total,
            value: self.value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_figure_is_left_out() {
        let read = |text: &str| {
            serde_json::from_str::<FigureShape<'_>>(text).ok().and_then(FigureShape::figure)
        };
        assert_eq!(
            read(r#"{"name":"connections","unit":"count","value":3}"#),
            Some(Metric { name: Cow::Borrowed("connections"), ..Metric::now("connections", 3) })
        );
        assert_eq!(read(r#"{"name":"li\u001bnks","unit":"count","value":3}"#), None);
        assert_eq!(read(r#"{"name":"connections","unit":"miles","value":3}"#), None);
        assert_eq!(read(r#"{"name":"connections","unit":"count","value":-3}"#), None);
    }
}
