//! The questions about accounts under way: operations, lists and searches, with their stages.

use std::net::SocketAddr;

use crate::accounts::AccountChange;
use crate::accounts::store::UserConnection;
use crate::cluster::account_entry::{AccountValue, ConnectionValue, ListedUser, PublicationEntry};
use crate::cluster::account_read::{AccountFound, UserRecord};
use crate::cluster::command::EngineFailure;
use crate::cluster::keys::USER_PARTS;
use crate::index::pagination::PageBudget;
use crate::node::ConnId;
use crate::protocol::administration::AdminRequest;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::member::MemberRequest;
use crate::protocol::response::{Away, Provider, Response};
use crate::protocol::types::account::{
    AccountOp, Key, Line, Online, Operation, Publication, Published, UserName,
};
use crate::protocol::types::ids::{hex_byte, to_hex};

/// An operation under way.
pub(super) struct AccountOperation {
    pub(super) conn: ConnId,
    /// The connection is closed: the operation ends without an answer.
    pub(super) is_closed: bool,
    pub(super) from: SocketAddr,
    pub(super) request_id: Option<u64>,
    pub(super) purpose: OperationPurpose,
    pub(super) user: Option<UserName>,
    /// The key of the user, as read last.
    pub(super) key: Option<Key>,
    pub(super) rounds: u8,
    pub(super) stage: OperationStage,
}

pub(super) enum OperationPurpose {
    /// Of a user.
    Client(Operation),
    /// Of an administrator.
    Admin(MemberRequest),
}

pub(super) enum OperationStage {
    /// The user is read.
    Read,
    /// The entry of a list is written; the change follows.
    List(Box<PendingWrite>),
    /// The change is written.
    Write(Box<PendingWrite>),
    /// The publications of a user are read.
    Content(Box<ContentList>),
}

/// A change on its way to the engine.
pub(super) struct PendingWrite {
    pub(super) change: AccountChange,
    /// The user.
    pub(super) value: AccountValue,
    /// The own entry in a list of another slot.
    pub(super) listed: Option<ListedUser>,
    pub(super) detail: WriteDetail,
}

/// The value that a change writes.
#[derive(Clone)]
pub(super) enum WriteDetail {
    User,
    Connection(ConnectionValue),
    Publication(PublicationEntry),
}

impl AccountOperation {
    /// The connection is closed.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.is_closed |= self.conn == conn;
    }

    /// The list of a client, as far as there is one.
    pub(super) fn list_op(&self) -> Option<&AccountOp> {
        match &self.purpose {
            OperationPurpose::Client(operation) => Some(&operation.op),
            OperationPurpose::Admin(_) => None,
        }
    }

    /// The operation of a client.
    pub(super) fn operation(&self) -> Option<&Operation> {
        match &self.purpose {
            OperationPurpose::Client(operation) => Some(operation),
            OperationPurpose::Admin(_) => None,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The file whose publication the decision needs.
    pub(super) fn file(&self) -> Option<Published> {
        match &self.purpose {
            OperationPurpose::Client(operation) => match &operation.op {
                AccountOp::Publish(what) => Some(what.file.clone()),
                AccountOp::Delete(file) => Some(file.clone()),
                _ => None,
            },
            OperationPurpose::Admin(MemberRequest::Admin(AdminRequest::Unpublish {
                file, ..
            })) => Some(file.clone()),
            OperationPurpose::Admin(_) => None,
        }
    }

    /// The native protocol has idempotent requests: a client may repeat one without an answer.
    pub(super) fn is_native(&self) -> bool {
        self.operation().is_some_and(|operation| operation.speaks.is_none())
    }
}

/// The publications of a user, and then the other files of the user's peers at this server.
pub(super) struct ContentList {
    pub(super) of: UserName,
    pub(super) files: Vec<Publication>,
    pub(super) room: PageBudget,
    pub(super) stage: ContentStage,
}

pub(super) enum ContentStage {
    /// Publications; the last one on the page.
    Published(Option<Line>),
    /// Files of peers from this place on, which may be published.
    Shared { place: usize, candidates: Vec<(usize, Publication)> },
}

/// Users of several keys, while they are read.
pub(super) struct UserGather {
    pub(super) left: usize,
    pub(super) records: Vec<Option<UserRecord>>,
    /// A user could not be read.
    pub(super) has_failed: bool,
    pub(super) purpose: GatherPurpose,
}

pub(super) enum GatherPurpose {
    /// Users of legacy clients of a part.
    Users(Box<UsersList>, LegacyPage),
    /// The publishers of a name, and the descriptions of files.
    Search(u64),
}

/// A page of the users of legacy clients, as listed by the engine.
pub(super) struct LegacyPage {
    pub(super) listed: Vec<ListedUser>,
    pub(super) has_more: bool,
}

/// The users that are online.
pub(super) struct UsersList {
    pub(super) operation: Box<AccountOperation>,
    pub(super) users: Vec<Online>,
    pub(super) room: PageBudget,
    pub(super) place: UsersPlace,
}

/// The place of a list of users: own members, users of legacy clients, members of other servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UsersPlace {
    Own(Option<String>),
    Legacy(u8, Option<UserName>),
    Members(u8, Option<String>),
    End,
}

impl UserGather {
    pub(super) fn new(count: usize, purpose: GatherPurpose) -> UserGather {
        UserGather {
            left: count,
            records: (0..count).map(|_| None).collect(),
            has_failed: false,
            purpose,
        }
    }

    /// The connection is closed.
    pub(super) fn forget(&mut self, conn: ConnId) {
        if let GatherPurpose::Users(list, _) = &mut self.purpose {
            list.forget(conn);
        }
    }
}

impl UsersList {
    /// The connection is closed.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.operation.forget(conn);
    }
}

impl UsersPlace {
    pub(super) fn parse(cursor: Option<&str>) -> Option<UsersPlace> {
        let Some(cursor) = cursor else { return Some(UsersPlace::Own(None)) };
        let (kind, rest) = cursor.split_at_checked(1)?;
        let part = || {
            let (part, after) = rest.split_once('.')?;
            let part = part.parse::<u8>().ok().filter(|part| *part < USER_PARTS)?;
            Some((part, (!after.is_empty()).then_some(after)))
        };
        Some(match kind {
            "o" => UsersPlace::Own(Some(rest.to_owned())),
            "l" => {
                let (part, after) = part()?;
                let after = after.map(|after| UserName::new(&text_of_hex(after)?).ok());
                UsersPlace::Legacy(part, after.map_or(Some(None), |after| after.map(Some))?)
            }
            "m" => {
                let (part, after) = part()?;
                UsersPlace::Members(part, after.map(str::to_owned))
            }
            _ => return None,
        })
    }

    pub(super) fn cursor(&self) -> Option<String> {
        Some(match self {
            UsersPlace::Own(cursor) => format!("o{}", cursor.as_deref().unwrap_or_default()),
            UsersPlace::Legacy(part, user) => {
                let user = user.as_ref().map(|user| to_hex(user.as_bytes()));
                format!("l{part}.{}", user.unwrap_or_default())
            }
            UsersPlace::Members(part, cursor) => {
                format!("m{part}.{}", cursor.as_deref().unwrap_or_default())
            }
            UsersPlace::End => return None,
        })
    }
}

/// The purpose of a question to the engine.
pub(super) enum SearchPurpose {
    /// A search of a client, by name or content.
    Search,
    /// The members of a user, for FIND_USER.
    User(Box<AccountOperation>),
    /// A part of all members, for LIST_USERS.
    Members(Box<UsersList>),
    /// The members of a publisher, for a search.
    Away(u64, UserName),
}

/// The purpose of a question about accounts.
pub(super) enum AccountAsk {
    Operation(Box<AccountOperation>),
    /// The user of a place of a gather.
    Gather(u64, usize),
    /// The publishers of the name of a search.
    Publishers(u64),
    /// A page of the users of legacy clients.
    LegacyUsers(Box<UsersList>),
    /// The account of a login.
    Login(UserName),
    /// Publications of a removed account.
    Removed(UserName, [u8; 8]),
}

/// The entries of an answer.
pub(super) struct FoundFiles {
    pub(super) holders: Vec<Provider>,
    pub(super) away: Vec<Away>,
    pub(super) cursor: Option<String>,
    pub(super) incomplete: bool,
}

impl FoundFiles {
    pub(super) fn response(self) -> Response {
        let FoundFiles { holders, away, cursor, incomplete } = self;
        Response::Found { holders, away, cursor, incomplete }
    }

    /// An incomplete answer without an entry is no answer.
    pub(super) fn checked(self) -> Result<Response, ErrorReply> {
        let is_empty = self.holders.is_empty() && self.away.is_empty() && self.cursor.is_none();
        if is_empty && self.incomplete { Err(accounts_unavailable()) } else { Ok(self.response()) }
    }
}

/// The error for an account that the engine could not answer for.
pub(super) fn account_failure(why: EngineFailure) -> ErrorReply {
    match why {
        EngineFailure::Busy => ErrorReply::new(ErrorCode::Busy, "too much waits for the engine"),
        _ => accounts_unavailable(),
    }
}

pub(super) fn accounts_unavailable() -> ErrorReply {
    ErrorReply::new(ErrorCode::Unavailable, "the accounts of the servers do not answer now")
}

/// The user that was asked for.
pub(super) fn user_record(
    found: Result<AccountFound, EngineFailure>,
) -> Result<UserRecord, EngineFailure> {
    match found? {
        AccountFound::User(record) => Ok(record),
        _ => Err(EngineFailure::Refused),
    }
}

/// The address of a user of a legacy client, in a record.
pub(super) fn legacy_address(record: &UserRecord) -> Option<UserConnection> {
    record.value.and(record.connection).map(|value| value.at)
}

/// The text behind hexadecimal digits; `None` for anything else.
pub(super) fn text_of_hex(digits: &str) -> Option<String> {
    if digits.len() > CURSOR_BYTES || !digits.len().is_multiple_of(2) {
        return None;
    }
    let bytes = digits.as_bytes().chunks_exact(2).map(hex_byte);
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

/// Users of a file that a cursor names: the name of a publication in hexadecimal digits.
const CURSOR_BYTES: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_users_is_read_back_and_a_foreign_one_is_none() {
        let user = UserName::new("ána").unwrap();
        for place in [
            UsersPlace::Own(Some("17".into())),
            UsersPlace::Legacy(3, None),
            UsersPlace::Legacy(15, Some(user)),
            UsersPlace::Members(0, None),
            UsersPlace::Members(9, Some("00.11.0".into())),
        ] {
            let cursor = place.cursor();
            assert!(cursor.is_some());
            assert_eq!(UsersPlace::parse(cursor.as_deref()), Some(place));
        }
        assert_eq!(UsersPlace::End.cursor(), None);
        assert_eq!(UsersPlace::parse(None), Some(UsersPlace::Own(None)));
        for text in ["", "x", "l", "l16.", "l1", "l1.0", "l1.2f", "l1.zz", "mé", "m300.", "é"] {
            assert_eq!(UsersPlace::parse(Some(text)), None, "{text}");
        }
    }
}
