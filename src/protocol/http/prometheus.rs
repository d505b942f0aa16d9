//! Metrics in the text format of Prometheus, version 0.0.4: `/metrics`.

use std::fmt::Write as _;

use crate::protocol::metric::{Metric, Unit};

/// The content type of that format.
pub(super) const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All figures, those of one name together.
pub(super) fn text(figures: &[Metric]) -> String {
    let mut text = String::new();
    let mut last = None;
    for figure in figures {
        let unit = match figure.unit {
            Unit::Count => "",
            Unit::Bytes => "_bytes",
            Unit::Nanoseconds => "_seconds",
        };
        let (total, kind) = if figure.total { ("_total", "counter") } else { ("", "gauge") };
        if last != Some(&figure.name) {
            let _ = writeln!(text, "# TYPE cardume_{}{unit}{total} {kind}", figure.name);
            last = Some(&figure.name);
        }
        let _ = write!(text, "cardume_{}{unit}{total}", figure.name);
        if let Some(of) = &figure.of {
            let _ = write!(text, "{{of=\"{of}\"}}");
        }
        let _ = match figure.unit {
            Unit::Nanoseconds => writeln!(text, " {}.{:09}", figure.value / 1_000_000_000, figure.value % 1_000_000_000),
            Unit::Count | Unit::Bytes => writeln!(text, " {}", figure.value),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_units_and_kinds_are_those_of_the_format() {
        let figures = [
            Metric::total("requests", 3).of("search"),
            Metric::total("requests", 4).of("ping"),
            Metric::now("turn_length", 1_500_000).of("p99").in_unit(Unit::Nanoseconds),
            Metric::now("index", 7).of("names").in_unit(Unit::Bytes),
        ];
        assert_eq!(
            text(&figures),
            "# TYPE cardume_requests_total counter\ncardume_requests_total{of=\"search\"} 3\ncardume_requests_total{of=\"ping\"} 4\n\
             # TYPE cardume_turn_length_seconds gauge\ncardume_turn_length_seconds{of=\"p99\"} 0.001500000\n\
             # TYPE cardume_index_bytes gauge\ncardume_index_bytes{of=\"names\"} 7\n"
        );
    }
}
