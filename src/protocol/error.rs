//! The closed list of error codes.

use crate::protocol::types::file_name::BadName;

/// Error codes, in the order and spelling of PROTOCOL.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// Not JSON, or a field is wrong or missing.
    BadRequest,
    /// A name that can't be a file name.
    BadName,
    /// This side has no such method.
    Unsupported,
    /// Another major version.
    Version,
    /// A header, list or number exceeds its limit.
    TooLarge,
    /// JOIN must come first.
    NotJoined,
    /// The address may not be advertised here.
    Address,
    /// Another live peer holds that address.
    InUse,
    /// No such file or peer.
    NotFound,
    /// The user or the policy of this peer refuses.
    Refused,
    /// Too many requests or connections.
    Busy,
    /// The file no longer has the requested version.
    Changed,
    /// The range starts beyond the end.
    Range,
    /// Cancelled by CANCEL.
    Cancelled,
    /// The disk of this side failed.
    Io,
    /// An internal error of this side.
    Internal,
    /// The user name is already registered.
    Taken,
    /// No such user is registered.
    NoUser,
    /// The named other user is not registered.
    NoRemoteUser,
    /// The user is already online.
    Connected,
    /// The user is not online.
    NotConnected,
    /// The user has already published a file of that name.
    Published,
    /// The user has published no file of that name.
    NotPublished,
    /// The proof is wrong, or the user has another key or no key.
    BadProof,
    /// This server requires an account.
    AccountRequired,
    /// The key of this connection is no member of this closed server.
    NotMember,
    /// The invite is unknown, used up or expired.
    BadToken,
    /// The role or the groups of the member do not permit that.
    Forbidden,
    /// The pass has expired.
    Expired,
    /// A closed server or peer takes no plain connection.
    EncryptedOnly,
    /// An administrator has closed the connection.
    Kicked,
    /// An administrator has banned the key.
    Banned,
    /// The index of several servers can't be asked now.
    Unavailable,
}

/// All codes and their names on the wire.
pub const CODES: [(ErrorCode, &str); 33] = [
    (ErrorCode::BadRequest, "bad_request"),
    (ErrorCode::BadName, "bad_name"),
    (ErrorCode::Unsupported, "unsupported"),
    (ErrorCode::Version, "version"),
    (ErrorCode::TooLarge, "too_large"),
    (ErrorCode::NotJoined, "not_joined"),
    (ErrorCode::Address, "address"),
    (ErrorCode::InUse, "in_use"),
    (ErrorCode::NotFound, "not_found"),
    (ErrorCode::Refused, "refused"),
    (ErrorCode::Busy, "busy"),
    (ErrorCode::Changed, "changed"),
    (ErrorCode::Range, "range"),
    (ErrorCode::Cancelled, "cancelled"),
    (ErrorCode::Io, "io"),
    (ErrorCode::Internal, "internal"),
    (ErrorCode::Taken, "taken"),
    (ErrorCode::NoUser, "no_user"),
    (ErrorCode::NoRemoteUser, "no_remote_user"),
    (ErrorCode::Connected, "connected"),
    (ErrorCode::NotConnected, "not_connected"),
    (ErrorCode::Published, "published"),
    (ErrorCode::NotPublished, "not_published"),
    (ErrorCode::BadProof, "bad_proof"),
    (ErrorCode::AccountRequired, "account_required"),
    (ErrorCode::NotMember, "not_member"),
    (ErrorCode::BadToken, "bad_token"),
    (ErrorCode::Forbidden, "forbidden"),
    (ErrorCode::Expired, "expired"),
    (ErrorCode::EncryptedOnly, "encrypted_only"),
    (ErrorCode::Kicked, "kicked"),
    (ErrorCode::Banned, "banned"),
    (ErrorCode::Unavailable, "unavailable"),
];

/// An error response, with a text for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReply {
    /// The error code.
    pub code: ErrorCode,
    /// The cause, in English.
    pub text: String,
}

impl ErrorCode {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        CODES.iter().find(|(code, _)| *code == self).map_or("internal", |(_, word)| word)
    }

    /// Parse a name of the wire; an unknown code counts as `internal`.
    #[must_use]
    pub fn parse(word: &str) -> ErrorCode {
        CODES
            .iter()
            .find(|(_, known)| *known == word)
            .map_or(ErrorCode::Internal, |(code, _)| *code)
    }

    /// True when the same request may succeed later.
    #[must_use]
    pub fn retry(self) -> bool {
        matches!(
            self,
            ErrorCode::InUse
                | ErrorCode::Busy
                | ErrorCode::Io
                | ErrorCode::Internal
                | ErrorCode::Expired
                | ErrorCode::Kicked
                | ErrorCode::Unavailable
        )
    }
}

impl ErrorReply {
    /// An error with its cause.
    #[must_use]
    pub fn new(code: ErrorCode, text: impl Into<String>) -> ErrorReply {
        ErrorReply { code, text: text.into() }
    }

    /// A request that is malformed, or wrong in a field.
    #[must_use]
    pub fn bad_request(text: impl Into<String>) -> ErrorReply {
        ErrorReply::new(ErrorCode::BadRequest, text)
    }

    /// A cursor from no response of this process.
    #[must_use]
    pub fn bad_cursor() -> ErrorReply {
        ErrorReply::bad_request("cursor is not one of ours")
    }

    /// A file name that is not UTF-8.
    #[must_use]
    pub fn not_utf8() -> ErrorReply {
        ErrorReply::new(ErrorCode::BadName, "a file name must not be anything but UTF-8")
    }

    /// No file of that name or content.
    #[must_use]
    pub fn no_such_file() -> ErrorReply {
        ErrorReply::new(ErrorCode::NotFound, "no such file here")
    }

    /// The method is not supported by this side.
    #[must_use]
    pub fn unsupported() -> ErrorReply {
        ErrorReply::new(ErrorCode::Unsupported, "no such method here")
    }
}

impl From<BadName> for ErrorReply {
    fn from(why: BadName) -> ErrorReply {
        ErrorReply::new(ErrorCode::BadName, format!("a file name must not {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_round_trip() {
        for (code, word) in CODES {
            assert_eq!(code.as_str(), word);
            assert_eq!(ErrorCode::parse(word), code);
        }
        assert_eq!(ErrorCode::parse("novel"), ErrorCode::Internal);
    }
}
