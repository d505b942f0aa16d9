//! Request counts, and metrics that servers and peers have in common.

use std::net::IpAddr;

use crate::node::stats::histogram::Histogram;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::link::LinkRequest;
use crate::protocol::metric::{Metric, Unit};
use crate::protocol::registry::RegistryRequest;
use crate::protocol::request::Request;

/// The kinds of requests.
const KINDS: [&str; 10] =
    ["join", "update", "leave", "search", "peers", "ls", "ping", "fetch", "account", "other"];

/// Counts of requests.
#[derive(Clone, Debug, Default)]
pub struct RequestStats([u64; KINDS.len()]);

impl RequestStats {
    /// Counts a request.
    pub fn note(&mut self, request: &Request) {
        let kind = match request {
            Request::Join(_) | Request::Enter(_) => 0,
            Request::Update { .. } | Request::Replace { .. } => 1,
            Request::Leave => 2,
            Request::Search { .. } | Request::Find { .. } => 3,
            Request::Peers { .. } | Request::PeersAt(_) => 4,
            Request::Registry(request, _) => match **request {
                RegistryRequest::Register { .. } => 0,
                RegistryRequest::Remove(_) => 2,
                RegistryRequest::Nodes => 4,
            },
            Request::Ls { .. } | Request::Folder { .. } => 5,
            Request::Ping => 6,
            Request::Fetch(_)
            | Request::FetchPath(_)
            | Request::Pieces(_)
            | Request::Have { .. }
            | Request::Wrong { .. }
            | Request::Prove(_) => 7,
            Request::Link(link) if matches!(**link, LinkRequest::Fetch(_)) => 7,
            Request::Operation(_) => 8,
            _ => 9,
        };
        self.0[kind] += 1;
    }

    /// The counts as metrics.
    pub fn figures(&self) -> impl Iterator<Item = Metric> + '_ {
        KINDS.iter().zip(self.0).map(|(kind, count)| Metric::total("requests", count).of(kind))
    }
}

/// Bounds of the histogram of iteration lengths, in nanoseconds and as labels in seconds.
const BOUNDS: [(u64, &str); 11] = [
    (10_000, "0.00001"),
    (100_000, "0.0001"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_000_000, "0.002"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (20_000_000, "0.02"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (1_000_000_000, "1"),
];

/// Metrics of the event loop: quantiles for people, a histogram for Prometheus.
#[must_use]
pub fn of_loop(iterations: &Histogram) -> Vec<Metric> {
    let nanos = |length: std::time::Duration| u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    let quantile = |of, length| {
        Metric::now("loop_iteration_quantile", nanos(length)).of(of).in_unit(Unit::Nanoseconds)
    };
    let bucket = |of, count| Metric::total("loop_iteration_seconds_bucket", count).of(of);
    let mut metrics = vec![
        Metric::total("loop_iterations", iterations.count()),
        quantile("p50", iterations.quantile(500)),
        quantile("p99", iterations.quantile(990)),
        quantile("max", iterations.longest()),
    ];
    metrics.extend(BOUNDS.map(|(bound, label)| {
        bucket(label, iterations.at_most(std::time::Duration::from_nanos(bound)))
    }));
    metrics.push(bucket("inf", iterations.count()));
    metrics.push(
        Metric::total("loop_iteration_seconds_sum", nanos(iterations.sum()))
            .in_unit(Unit::Nanoseconds),
    );
    metrics
}

/// Allow metrics only to local clients, unless the operator has opened them to all.
///
/// # Errors
/// With the response to send.
pub fn may_see(from: IpAddr, local: bool, open: bool) -> Result<(), ErrorReply> {
    if open || (local && from.to_canonical().is_loopback()) {
        Ok(())
    } else {
        Err(ErrorReply::new(ErrorCode::Refused, "figures are told on this machine alone"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::{Fetch, Selector};
    use crate::protocol::types::relative_path::RelativeName;

    #[test]
    fn each_kind_is_counted_apart() {
        let mut tally = RequestStats::default();
        tally.note(&Request::Ping);
        tally.note(&Request::Leave);
        tally.note(&Request::Ping);
        let figures: Vec<Metric> = tally.figures().filter(|figure| figure.value > 0).collect();
        assert_eq!(
            figures,
            [Metric::total("requests", 1).of("leave"), Metric::total("requests", 2).of("ping")]
        );
    }

    #[test]
    fn every_way_to_ask_for_bytes_is_a_fetch() {
        let mut tally = RequestStats::default();
        let wanted = Selector::Name(RelativeName::new("a").unwrap());
        let fetch = Fetch { wanted, tag: None, from: 0, length: None };
        tally.note(&Request::Prove(fetch.clone()));
        tally.note(&Request::Fetch(fetch));
        assert!(tally.figures().any(|figure| figure == Metric::total("requests", 2).of("fetch")));
    }

    #[test]
    fn strangers_see_figures_only_where_they_are_open() {
        let (here, there, mapped) = (
            IpAddr::from([127, 0, 0, 1]),
            IpAddr::from([10, 0, 0, 1]),
            "::ffff:127.0.0.1".parse().unwrap(),
        );
        assert!(
            may_see(here, true, false).is_ok()
                && may_see(mapped, true, false).is_ok()
                && may_see(there, false, true).is_ok()
        );
        assert!(may_see(there, true, false).is_err() && may_see(here, false, false).is_err());
    }
}
