//! Metrics of the process itself, under the names that Prometheus clients use.

use std::time::Duration;

use crate::protocol::metric::{Metric, Unit};

/// Resources of this process, as the system reports them; all zero where unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessStats {
    /// Processor time, user and system.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Virtual memory in bytes.
    pub mapped: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Limit of file descriptors.
    pub max_fds: u64,
    /// Start of the process, in seconds since 1970.
    pub started: u64,
}

impl ProcessStats {
    /// The stats as metrics.
    #[must_use]
    pub fn metrics(&self) -> [Metric; 6] {
        let cpu = u64::try_from(self.cpu.as_nanos()).unwrap_or(u64::MAX);
        [
            Metric::total("process_cpu", cpu).in_unit(Unit::Nanoseconds),
            Metric::now("process_resident_memory", self.resident).in_unit(Unit::Bytes),
            Metric::now("process_virtual_memory", self.mapped).in_unit(Unit::Bytes),
            Metric::now("process_open_fds", self.open_fds),
            Metric::now("process_max_fds", self.max_fds),
            Metric::now("process_start_time_seconds", self.started),
        ]
    }
}
