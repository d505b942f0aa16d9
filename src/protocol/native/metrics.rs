//! Metrics of STATUS on the wire: one struct for both directions.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::protocol::metric::{self, Metric, Unit};

#[derive(Serialize, Deserialize)]
pub(super) struct MetricShape<'a> {
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

impl<'a> MetricShape<'a> {
    pub(super) fn of(figure: &'a Metric) -> MetricShape<'a> {
        let Metric { name, of, unit, total, value } = figure;
        let value = (*value).min(limits::LARGEST_INTEGER);
        MetricShape {
            name: Cow::Borrowed(name),
            of: of.as_deref().map(Cow::Borrowed),
            unit: Cow::Borrowed(unit.as_str()),
            total: *total,
            value,
        }
    }

    /// The metric; `None` for an invalid name, label or unit.
    pub(super) fn metric(self) -> Option<Metric> {
        let good = |text: &str| metric::is_name(text, limits::METRIC_NAME_BYTES);
        if !good(&self.name) || self.of.as_deref().is_some_and(|of| !good(of)) {
            return None;
        }
        let of = self.of.map(|of| Cow::Owned(of.into_owned()));
        Some(Metric {
            name: Cow::Owned(self.name.into_owned()),
            of,
            unit: Unit::parse(&self.unit)?,
            total: self.total,
            value: self.value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_metrics_are_dropped() {
        let read = |text: &str| {
            serde_json::from_str::<MetricShape<'_>>(text).ok().and_then(MetricShape::metric)
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
