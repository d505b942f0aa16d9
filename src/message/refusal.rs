//! The closed list of reasons for a no.

use crate::message::name::BadName;

/// What kind of no it is. The order and spelling are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
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
pub const CODES: [(Code, &str); 25] = [
    (Code::BadRequest, "bad_request"),
    (Code::BadName, "bad_name"),
    (Code::Unsupported, "unsupported"),
    (Code::Version, "version"),
    (Code::TooLarge, "too_large"),
    (Code::NotJoined, "not_joined"),
    (Code::Address, "address"),
    (Code::InUse, "in_use"),
    (Code::NotFound, "not_found"),
    (Code::Refused, "refused"),
    (Code::Busy, "busy"),
    (Code::Changed, "changed"),
    (Code::Range, "range"),
    (Code::Cancelled, "cancelled"),
    (Code::Io, "io"),
    (Code::Internal, "internal"),
    (Code::Taken, "taken"),
    (Code::NoUser, "no_user"),
    (Code::NoRemoteUser, "no_remote_user"),
    (Code::Connected, "connected"),
    (Code::NotConnected, "not_connected"),
    (Code::Published, "published"),
    (Code::NotPublished, "not_published"),
    (Code::BadProof, "bad_proof"),
    (Code::AccountRequired, "account_required"),
];

/// A no, with words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind.
    pub code: Code,
    /// Why, in English.
    pub text: String,
}

impl Code {
    /// How the protocol spells it.
    #[must_use]
    pub fn word(self) -> &'static str {
        CODES.iter().find(|(code, _)| *code == self).map_or("internal", |(_, word)| word)
    }

    /// What a word of the protocol means; an unknown one is a fault of the other side.
    #[must_use]
    pub fn of_word(word: &str) -> Code {
        CODES.iter().find(|(_, known)| *known == word).map_or(Code::Internal, |(code, _)| *code)
    }

    /// True when the same request may succeed later.
    #[must_use]
    pub fn retry(self) -> bool {
        matches!(self, Code::InUse | Code::Busy | Code::Io | Code::Internal)
    }
}

impl Refusal {
    /// A no with its reason.
    #[must_use]
    pub fn new(code: Code, text: impl Into<String>) -> Refusal {
        Refusal { code, text: text.into() }
    }

    /// For a name or a content that is not here.
    #[must_use]
    pub fn no_such_file() -> Refusal {
        Refusal::new(Code::NotFound, "no such file here")
    }

    /// For a method that is not for this side.
    #[must_use]
    pub fn unsupported() -> Refusal {
        Refusal::new(Code::Unsupported, "no such method here")
    }
}

impl From<BadName> for Refusal {
    fn from(why: BadName) -> Refusal {
        Refusal::new(Code::BadName, format!("a file name must not {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back_from_its_word() {
        for (code, word) in CODES {
            assert_eq!(code.word(), word);
            assert_eq!(Code::of_word(word), code);
        }
        assert_eq!(Code::of_word("novel"), Code::Internal);
    }
}
