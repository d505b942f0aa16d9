//! Connections that an administrator closes, and the errors for their clients.

use crate::members::bans::Ban;
use crate::node::ConnId;
use crate::protocol::error::{ErrorCode, ErrorReply};

/// Connections to close after the commit, and the error for their clients.
pub(super) struct Cut {
    pub(super) conns: Vec<ConnId>,
    pub(super) refusal: ErrorReply,
}

/// The error for a banned client.
pub(super) fn banned(ban: &Ban, now: u64) -> ErrorReply {
    let mut text = match ban.until {
        Some(until) => format!("banned for {} s more", until.saturating_sub(now)),
        None => "banned".to_owned(),
    };
    if !ban.reason.is_empty() {
        text.push_str(": ");
        text.push_str(&ban.reason);
    }
    ErrorReply::new(ErrorCode::Banned, text)
}
