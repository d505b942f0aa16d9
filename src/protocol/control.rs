//! Requests to a running peer by its control socket: a JSON object a line, and a line for each answer.
//!
//! The socket belongs to the user of the peer. The lines never leave the machine.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::protocol::error::{ErrorCode, ErrorReply};

/// The longest line of a request: several hundred of the longest names.
pub const REQUEST_BYTES: usize = 1 << 20;
/// The longest line of an answer: the largest queue with the longest names.
pub const ANSWER_BYTES: usize = 64 << 20;
/// Names that one request adds: a batch of the longest names fits in a request.
pub const BATCH: usize = 200;

/// A file or a folder to download, in checked parts of text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedName {
    /// The name; `None`: any name of the content.
    pub name: Option<String>,
    /// The content hash in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The name is that of a folder.
    #[serde(default, skip_serializing_if = "is_false")]
    pub folder: bool,
    /// The name was given as an absolute path.
    #[serde(default, skip_serializing_if = "is_false")]
    pub absolute: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The transfers that a request names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// All downloads of the queue.
    All,
    /// Numbers of the queue, or names.
    Words(Vec<String>),
}

/// A limit of a rate in bytes a second; `None`: no limit.
pub type RateLimit = Option<u64>;

/// A request to a running peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum ControlRequest {
    /// List the transfers.
    Transfers,
    /// Append to the queue.
    Add {
        /// The files and folders.
        wanted: Vec<WantedName>,
        /// The only source; `None`: all that the server names.
        from: Option<SocketAddr>,
        /// Wait for a `Resume`.
        paused: bool,
    },
    /// Stop downloads; their bytes stay.
    Pause {
        /// The downloads.
        of: Selection,
    },
    /// Go on with paused and failed downloads.
    Resume {
        /// The downloads.
        of: Selection,
    },
    /// Remove downloads from the queue; their bytes stay.
    Cancel {
        /// The downloads.
        of: Selection,
    },
    /// Move downloads to the front of the queue.
    Top {
        /// The downloads.
        of: Selection,
    },
    /// Change limits of the rates. A limit that is absent stays.
    Limit {
        /// Bytes sent per second; 0: no limit.
        up: Option<u64>,
        /// Bytes received per second; 0: no limit.
        down: Option<u64>,
    },
    /// Refuse uploads to an address, a range, a key or a user.
    Block {
        /// The subject as text.
        subject: String,
    },
    /// Withdraw such a refusal.
    Allow {
        /// The subject as text.
        subject: String,
    },
    /// List the refusals.
    Blocked,
    /// List past transfers, the newest last.
    History {
        /// The most entries.
        most: usize,
    },
}

/// The state of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferState {
    /// Bytes may come or go.
    Active,
    /// Waits for a source, or an upload for a slot.
    Stalled,
    /// Waits for its turn, or for a first source.
    Queued,
    /// Waits for the user.
    Paused,
    /// Has failed.
    Failed,
}

impl TransferState {
    /// The word in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            TransferState::Active => "active",
            TransferState::Stalled => "stalled",
            TransferState::Queued => "queued",
            TransferState::Paused => "paused",
            TransferState::Failed => "failed",
        }
    }
}

/// A transfer in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferLine {
    /// The number in the queue; `None` for an upload.
    pub id: Option<u32>,
    /// The name; that of a folder ends in `/`.
    pub name: String,
    /// True for an upload.
    pub upload: bool,
    /// The state.
    pub state: TransferState,
    /// Bytes here, or bytes sent.
    pub held: u64,
    /// Bytes in all, if known.
    pub size: Option<u64>,
    /// Bytes a second.
    pub rate: u64,
    /// The requester of an upload, or the only source of a download.
    pub peer: Option<SocketAddr>,
    /// The member that requests an upload, if known.
    pub user: Option<String>,
    /// The content hash, if known.
    pub root: Option<String>,
    /// When the download was queued, in seconds since 1970.
    pub added: Option<u64>,
    /// Why the transfer has failed or waits, in English.
    pub why: Option<String>,
}

/// Sums of the process, and the limits of the rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferTotals {
    /// Bytes of files sent since the start.
    pub sent: u64,
    /// Bytes of files received since the start.
    pub received: u64,
    /// The limit of the bytes sent per second.
    pub up: RateLimit,
    /// The limit of the bytes received per second.
    pub down: RateLimit,
}

/// How a transfer has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferEnd {
    /// A download is complete.
    Saved,
    /// A download has failed.
    Failed,
    /// The user has removed a download.
    Cancelled,
    /// An upload is over.
    Sent,
}

impl TransferEnd {
    /// The word in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            TransferEnd::Saved => "saved",
            TransferEnd::Failed => "failed",
            TransferEnd::Cancelled => "cancelled",
            TransferEnd::Sent => "sent",
        }
    }
}

/// A past transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastTransfer {
    /// The end, in seconds since 1970.
    pub at: u64,
    /// The outcome.
    pub end: TransferEnd,
    /// The name; that of a folder ends in `/`.
    pub name: String,
    /// Bytes of the file; of an upload the bytes sent.
    pub size: Option<u64>,
    /// The first source, or the requester.
    pub peer: Option<SocketAddr>,
    /// The member that requested an upload, if known.
    pub user: Option<String>,
    /// The content hash, if known.
    pub root: Option<String>,
    /// Why the download has failed, in English.
    pub why: Option<String>,
}

/// The answer of a running peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlAnswer {
    /// The transfers: downloads in the order of the queue, then uploads by name.
    Transfers {
        /// The transfers.
        lines: Vec<TransferLine>,
        /// The sums.
        totals: TransferTotals,
    },
    /// The downloads that the request has changed.
    Changed(Vec<TransferLine>),
    /// The limits of the rates.
    Limits {
        /// Bytes sent per second.
        up: RateLimit,
        /// Bytes received per second.
        down: RateLimit,
    },
    /// The refusals.
    Blocked(Vec<String>),
    /// Past transfers, the newest last.
    History(Vec<PastTransfer>),
    /// The request has failed.
    Failed {
        /// The code of the error.
        code: String,
        /// The reason in English.
        text: String,
    },
}

impl ControlRequest {
    /// Decode the line of a request, without its end.
    ///
    /// # Errors
    /// The reason why the line is no request.
    pub fn decode(line: &[u8]) -> Result<ControlRequest, ErrorReply> {
        serde_json::from_slice(line)
            .map_err(|error| ErrorReply::new(ErrorCode::BadRequest, error.to_string()))
    }

    /// The line of the request.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }
}

impl ControlAnswer {
    /// The answer for a failure.
    #[must_use]
    pub fn failed(error: &ErrorReply) -> ControlAnswer {
        let (code, text) = (error.code.as_str().to_owned(), error.text.clone());
        ControlAnswer::Failed { code, text }
    }

    /// Decode the line of an answer, without its end.
    ///
    /// # Errors
    /// The reason why the line is no answer.
    pub fn decode(line: &[u8]) -> Result<ControlAnswer, String> {
        serde_json::from_slice(line).map_err(|error| error.to_string())
    }

    /// The line of the answer.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    debug_assert!(!line.is_empty(), "plain values have a text");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_written() {
        let wanted = WantedName { name: Some("a\n\".mp4".into()), ..WantedName::default() };
        for request in [
            ControlRequest::Transfers,
            ControlRequest::Add { wanted: vec![wanted], from: None, paused: true },
            ControlRequest::Pause { of: Selection::All },
            ControlRequest::Top { of: Selection::Words(vec!["3".into()]) },
            ControlRequest::Limit { up: Some(0), down: None },
            ControlRequest::History { most: 3 },
        ] {
            let line = request.encode();
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(ControlRequest::decode(&line[..line.len() - 1]).unwrap(), request);
        }
    }

    #[test]
    fn a_line_that_is_no_request_is_refused() {
        let nested = "[".repeat(100_000);
        for line in [
            "",
            "{}",
            "null",
            "{\"do\":\"shutdown\"}",
            "{\"do\":\"pause\"}",
            "{\"do\":\"pause\",\"of\":\"all\",\"x\":1}",
            "{\"do\":\"transfers\"} x",
            "{\"do\":\"history\",\"most\":-1}",
            "\u{0}",
            &nested,
        ] {
            let error = ControlRequest::decode(line.as_bytes()).unwrap_err();
            assert_eq!(error.code, ErrorCode::BadRequest, "{line:.40}");
        }
    }

    #[test]
    fn an_answer_is_read_as_written() {
        let answer = ControlAnswer::Failed { code: "not_found".into(), text: "none".into() };
        let line = answer.encode();
        assert_eq!(ControlAnswer::decode(&line[..line.len() - 1]), Ok(answer));
        assert!(ControlAnswer::decode(&line[..5]).is_err());
    }
}
