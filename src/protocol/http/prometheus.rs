//! Metrics in the text format of Prometheus, version 0.0.4: `/metrics`.

use std::fmt::Write as _;

use crate::protocol::metric::{Metric, Unit};

/// The content type of the format.
pub(super) const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Help texts, by the name of a metric without its unit.
const HELP: [(&str, &str); 37] = [
    ("loop_iterations", "Iterations of the event loop."),
    ("loop_iteration_quantile", "Length of an iteration, by quantile since the start."),
    ("loop_iteration_seconds", "Length of an iteration, waiting excluded."),
    ("connections", "Open connections."),
    ("peers", "Peers in the index."),
    ("names", "Distinct file names in the index."),
    ("contents", "Distinct contents in the index."),
    ("entries", "Files of all peers in the index."),
    ("subscriptions", "Subscriptions."),
    ("requests", "Requests, by method."),
    ("index", "Memory of the index, by part."),
    ("files", "Shared files."),
    ("uploads", "Uploads under way or queued."),
    ("downloads", "Downloads under way."),
    ("process_cpu", "Total user and system CPU time."),
    ("process_resident_memory", "Resident memory size."),
    ("process_virtual_memory", "Virtual memory size."),
    ("process_open_fds", "Number of open file descriptors."),
    ("process_max_fds", "Maximum number of open file descriptors."),
    ("process_start_time_seconds", "Start time of the process since unix epoch."),
    ("index_limit", "Memory that the index may take."),
    ("accounts_kept", "1 when accounts outlive the server."),
    ("engine_nodes", "Nodes of the engine that are known."),
    ("engine_connected", "Masters of the engine with an open connection."),
    ("engine_slots", "Slots of the engine with a master."),
    ("engine_slots_unmirrored", "Slots whose entries are not all in the engine."),
    ("engine_requests_in_flight", "Requests that the engine has not answered."),
    ("engine_requests_waiting", "Requests that wait for a connection to the engine."),
    ("engine_changes_queued", "Changes that the engine has not acknowledged."),
    ("engine_members", "Peers of this server in the engine."),
    ("engine_servers", "Servers of the index, alive or dead."),
    ("engine_names_known", "1 when searches by words are complete."),
    ("engine_cluster", "1 for a cluster, 0 for a single node."),
    ("engine_epoch", "Number of this server in its index; 0 for none."),
    ("engine_lag", "Age of the first change without an acknowledgement, and of the last reads."),
    ("engine_retries", "Requests sent again or redirected, and connections dropped as late."),
    ("engine_foreign_names", "Names that other servers have announced."),
];

/// Format metrics; metrics of one name must be consecutive.
pub(super) fn text(figures: &[Metric]) -> String {
    let mut text = String::new();
    let mut last = "";
    for figure in figures {
        let unit = match figure.unit {
            Unit::Count => "",
            Unit::Bytes => "_bytes",
            Unit::Nanoseconds => "_seconds",
        };
        // A histogram has one base name for its buckets, sum and count, which includes the unit.
        let part = ["_bucket", "_sum"].into_iter().find(|part| figure.name.ends_with(part));
        let base =
            part.map_or(&*figure.name, |part| &figure.name[..figure.name.len() - part.len()]);
        let prefix = if base.starts_with("process_") { "" } else { "cardume_" };
        let (unit, total, kind) = match (part, figure.total) {
            (Some(_), _) => ("", "", "histogram"),
            (None, true) => (unit, "_total", "counter"),
            (None, false) => (unit, "", "gauge"),
        };
        if last != base {
            if let Some((_, help)) = HELP.iter().find(|(name, _)| *name == base) {
                let _ = writeln!(text, "# HELP {prefix}{base}{unit}{total} {help}");
            }
            let _ = writeln!(text, "# TYPE {prefix}{base}{unit}{total} {kind}");
            last = base;
        }
        let _ = write!(text, "{prefix}{}{unit}{total}", figure.name);
        match (part, figure.of.as_deref()) {
            (Some("_bucket"), Some("inf")) => {
                // The last bucket is the total count.
                let _ = writeln!(
                    text,
                    "{{le=\"+Inf\"}} {}\n{prefix}{base}_count {}",
                    figure.value, figure.value
                );
                continue;
            }
            (Some("_bucket"), Some(of)) => drop(write!(text, "{{le=\"{of}\"}}")),
            (_, Some(of)) => drop(write!(text, "{{of=\"{of}\"}}")),
            (_, None) => {}
        }
        let _ = match figure.unit {
            Unit::Nanoseconds => writeln!(
                text,
                " {}.{:09}",
                figure.value / 1_000_000_000,
                figure.value % 1_000_000_000
            ),
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
            Metric::total("loop_iteration_seconds_bucket", 1).of("0.001"),
            Metric::total("loop_iteration_seconds_bucket", 2).of("inf"),
            Metric::total("loop_iteration_seconds_sum", 1_500_000).in_unit(Unit::Nanoseconds),
            Metric::total("process_cpu", 2_000_000_000).in_unit(Unit::Nanoseconds),
            Metric::now("index", 7).of("names").in_unit(Unit::Bytes),
        ];
        assert_eq!(
            text(&figures),
            "# HELP cardume_requests_total Requests, by method.\n# TYPE cardume_requests_total counter\n\
             cardume_requests_total{of=\"search\"} 3\ncardume_requests_total{of=\"ping\"} 4\n\
             # HELP cardume_loop_iteration_seconds Length of an iteration, waiting excluded.\n# TYPE cardume_loop_iteration_seconds histogram\n\
             cardume_loop_iteration_seconds_bucket{le=\"0.001\"} 1\ncardume_loop_iteration_seconds_bucket{le=\"+Inf\"} 2\n\
             cardume_loop_iteration_seconds_count 2\ncardume_loop_iteration_seconds_sum 0.001500000\n\
             # HELP process_cpu_seconds_total Total user and system CPU time.\n# TYPE process_cpu_seconds_total counter\n\
             process_cpu_seconds_total 2.000000000\n\
             # HELP cardume_index_bytes Memory of the index, by part.\n# TYPE cardume_index_bytes gauge\ncardume_index_bytes{of=\"names\"} 7\n"
        );
    }
}
