//! Settings that a node can change while it runs.

use crate::io::schedule::TransferRates;
use crate::peer::upload_queue::Accept;
use crate::protocol::http::host::HostNames;
use crate::protocol::types::address_range::AddressRange;
use crate::storage::exclude::Excludes;

/// A setting with its new value.
#[derive(Debug)]
pub enum LiveSetting {
    /// Metrics for all hosts, not only for this one.
    MetricsOpen(bool),
    /// Host names of HTTP requests, for new connections.
    HostNames(HostNames),
    /// Addresses that peers may advertise besides their own.
    Advertise(Vec<AddressRange>),
    /// The memory of the index in bytes.
    Memory(usize),
    /// Each peer needs an account.
    AccountsRequired(bool),
    /// Uploads at once; `None`: no limit.
    UploadSlots(Option<usize>),
    /// Bytes that a requester may ask for in a day; `None`: no limit.
    UploadQuota(Option<u64>),
    /// Whether requesters may download.
    Consent(Accept),
    /// The patterns of files that are not shared.
    Excludes(Excludes),
    /// The limits of the rates, which the loop holds already.
    Rates(TransferRates),
}
