//! The closed list of error codes.

use crate::protocol::types::file_name::BadName;

/// What kind of no it is. The order and spelling are the protocol's.
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
    /// A head, a list or a number is over its limit.
    TooLarge,
    /// JOIN comes first.
    NotJoined,
    /// That address may not be advertised here.
    Address,
    /// Another live peer holds that address.
    InUse,
    /// No such file or peer.
    NotFound,
    /// The person or the policy of this peer says no.
    Refused,
    /// Too many requests under way, or too many links.
    Busy,
    /// Not, or no longer, the version asked for.
    Changed,
    /// The range starts beyond the end.
    Range,
    /// As asked by CANCEL.
    Cancelled,
    /// The disk of this side failed.
    Io,
    /// A fault of this side.
    Internal,
    /// That user name is registered already.
    Taken,
    /// No such user is registered.
    NoUser,
    /// The user asked about is not registered.
    NoRemoteUser,
    /// The user is there already.
    Connected,
    /// The user is not there.
    NotConnected,
    /// The user has published a file of that name already.
    Published,
    /// The user has published no file of that name.
    NotPublished,
    /// The proof is wrong, or the user belongs to another key or to none.
    BadProof,
    /// This server takes nobody without an account.
    AccountRequired,
}

/// All codes with their spelling.
pub const CODES: [(ErrorCode, &str); 25] = [
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
];

/// A no, with words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReply {
    /// What kind.
    pub code: ErrorCode,
    /// Why, in English.
    pub text: String,
}

impl ErrorCode {
    /// How the protocol spells it.
    #[must_use]
    pub fn word(self) -> &'static str {
        CODES.iter().find(|(code, _)| *code == self).map_or("internal", |(_, word)| word)
    }

    /// What a word of the protocol means; an unknown one is a fault of the other side.
    #[must_use]
    pub fn of_word(word: &str) -> ErrorCode {
        CODES
            .iter()
            .find(|(_, known)| *known == word)
            .map_or(ErrorCode::Internal, |(code, _)| *code)
    }

    /// True when the same request may succeed later.
    #[must_use]
    pub fn retry(self) -> bool {
        matches!(self, ErrorCode::InUse | ErrorCode::Busy | ErrorCode::Io | ErrorCode::Internal)
    }
}

impl ErrorReply {
    /// A no with its reason.
    #[must_use]
    pub fn new(code: ErrorCode, text: impl Into<String>) -> ErrorReply {
        ErrorReply { code, text: text.into() }
    }

    /// For a name or a content that is not here.
    #[must_use]
    pub fn no_such_file() -> ErrorReply {
        ErrorReply::new(ErrorCode::NotFound, "no such file here")
    }

    /// For a method that is not for this side.
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
    fn every_code_is_read_back_from_its_word() {
        for (code, word) in CODES {
            assert_eq!(code.word(), word);
            assert_eq!(ErrorCode::of_word(word), code);
        }
        assert_eq!(ErrorCode::of_word("novel"), ErrorCode::Internal);
    }
}
