//! Reads of users and publications. Each reads the mark of its slot in the same transaction: where
//! the mark is missing the accounts are lost, and no absence is known.

use crate::cluster::account_entry::{AccountValue, ConnectionValue, ListedUser, PublicationEntry};
use crate::cluster::command::{EngineFailure, EngineOutcome, EngineRequest};
use crate::cluster::keys::Keys;
use crate::cluster::resp::{Elements, Reply};
use crate::cluster::slots::slot_of;
use crate::protocol::types::account::{Published, UserName};

/// Entries of a page: the longest take 140 KB, an eighth of the longest reply.
pub const PAGE: usize = 256;
/// A page, and another entry to know that others follow, as a word of a command.
const PAGE_WORD: &[u8] = b"257";
/// Files of a question: a request has at most 255 commands.
pub const FILES: usize = 200;
/// Users of a file that are looked at for a search, and another.
pub const PUBLISHERS: usize = 64;
const PUBLISHERS_WORD: &[u8] = b"65";

/// A question about accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountRead {
    /// A user, with the publication of this file.
    User(UserName, Option<Published>),
    /// The publications of a user after this file.
    Content(UserName, Option<Published>),
    /// Which of these files a user has published; at most [`FILES`].
    Published(UserName, Vec<Published>),
    /// The first publishers of a file.
    Publishers(Published),
    /// Users of legacy clients, of this part, after this user.
    LegacyUsers(u8, Option<UserName>),
    /// Publications of a removed account.
    Removed(UserName, [u8; 8]),
}

/// A user, as read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserRecord {
    /// The value; `None`: not registered.
    pub value: Option<AccountValue>,
    /// The address of a legacy client.
    pub connection: Option<ConnectionValue>,
    /// The publication that was asked for.
    pub publication: Option<PublicationEntry>,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountFound {
    /// Of [`AccountRead::User`].
    User(UserRecord),
    /// Of [`AccountRead::Content`] and [`AccountRead::Removed`].
    Content {
        /// The user is registered.
        is_known: bool,
        /// The publications.
        page: Vec<PublicationEntry>,
        /// Others follow.
        has_more: bool,
    },
    /// Of [`AccountRead::Published`], in the order of the files.
    Published(Vec<bool>),
    /// Of [`AccountRead::Publishers`] and [`AccountRead::LegacyUsers`].
    Users {
        /// The users. A user may be there more than once, and without such a publication.
        page: Vec<ListedUser>,
        /// Others follow.
        has_more: bool,
    },
}

impl AccountRead {
    fn key(&self, keys: &Keys) -> Vec<u8> {
        match self {
            AccountRead::User(user, _)
            | AccountRead::Content(user, _)
            | AccountRead::Published(user, _) => keys.user(user),
            AccountRead::Publishers(file) => keys.publishers(file),
            AccountRead::LegacyUsers(part, _) => keys.legacy_users(*part),
            AccountRead::Removed(user, nonce) => keys.removed(user, *nonce),
        }
    }

    /// The request.
    #[must_use]
    pub fn request(&self, keys: &Keys) -> EngineRequest {
        let key = self.key(keys);
        let mark = keys.account_mark(slot_of(&key));
        let request = EngineRequest::new(&key).command(&[b"MULTI"]).command(&[b"GET", &mark]);
        let range = |request: EngineRequest, key: &[u8], from: &[u8], to: &[u8], count: &[u8]| {
            request.command(&[b"ZRANGE", key, from, to, b"BYLEX", b"LIMIT", b"0", count])
        };
        let request = match self {
            AccountRead::User(user, file) => {
                let request =
                    request.command(&[b"GET", &key]).command(&[b"GET", &keys.connection(user)]);
                match file {
                    None => request,
                    Some(file) => {
                        let (from, to) = PublicationEntry::range(file);
                        range(request, &keys.publications(user), &from, &to, b"1")
                    }
                }
            }
            AccountRead::Content(user, after) => {
                let from = PublicationEntry::after(after.as_ref());
                let request = request.command(&[b"GET", &key]);
                range(request, &keys.publications(user), &from, b"+", PAGE_WORD)
            }
            AccountRead::Published(user, files) => {
                let list = keys.publications(user);
                files.iter().take(FILES).fold(request, |request, file| {
                    let (from, to) = PublicationEntry::range(file);
                    range(request, &list, &from, &to, b"1")
                })
            }
            AccountRead::Publishers(_) => range(request, &key, b"-", b"+", PUBLISHERS_WORD),
            AccountRead::LegacyUsers(_, after) => {
                let from = after
                    .as_ref()
                    .map_or_else(|| b"-".to_vec(), |user| [b"[", user.as_bytes(), &[1]].concat());
                range(request, &key, &from, b"+", PAGE_WORD)
            }
            AccountRead::Removed(..) => range(request, &key, b"-", b"+", PAGE_WORD),
        };
        request.command(&[b"EXEC"])
    }

    /// The answer of an engine that never had a user.
    #[must_use]
    pub fn none(&self) -> AccountFound {
        match self {
            AccountRead::User(..) => AccountFound::User(UserRecord::default()),
            AccountRead::Content(..) | AccountRead::Removed(..) => {
                AccountFound::Content { is_known: false, page: Vec::new(), has_more: false }
            }
            AccountRead::Published(_, files) => AccountFound::Published(vec![false; files.len()]),
            AccountRead::Publishers(_) | AccountRead::LegacyUsers(..) => {
                AccountFound::Users { page: Vec::new(), has_more: false }
            }
        }
    }

    /// Read the outcome.
    ///
    /// # Errors
    /// `Unavailable` where the accounts are lost, and for a user that another program has written.
    pub fn result(
        &self,
        outcome: EngineOutcome<'_>,
        mark: &[u8],
    ) -> Result<AccountFound, EngineFailure> {
        let mut parts = outcome?.executed().ok_or(EngineFailure::Refused)?;
        if parts.next() != Some(Reply::Bulk(mark)) {
            return Err(EngineFailure::Unavailable);
        }
        let mut next = || parts.next().ok_or(EngineFailure::Refused);
        Ok(match self {
            AccountRead::User(_, file) => {
                let value = read_value(next()?, AccountValue::decode)?;
                let connection = read_value(next()?, ConnectionValue::decode)?;
                let publication = match file {
                    None => None,
                    Some(_) => entries(next()?)?.next().and_then(PublicationEntry::decode),
                };
                AccountFound::User(UserRecord { value, connection, publication })
            }
            AccountRead::Content(..) => {
                let is_known = read_value(next()?, AccountValue::decode)?.is_some();
                let (page, has_more) = page(next()?, PAGE, PublicationEntry::decode)?;
                AccountFound::Content { is_known, page, has_more }
            }
            AccountRead::Removed(..) => {
                let (page, has_more) = page(next()?, PAGE, PublicationEntry::decode)?;
                AccountFound::Content { is_known: false, page, has_more }
            }
            AccountRead::Published(_, files) => {
                let mut all = Vec::new();
                for _ in files.iter().take(FILES) {
                    all.push(entries(next()?)?.next().is_some());
                }
                AccountFound::Published(all)
            }
            AccountRead::Publishers(_) => {
                let (page, has_more) = page(next()?, PUBLISHERS, ListedUser::decode)?;
                AccountFound::Users { page, has_more }
            }
            AccountRead::LegacyUsers(..) => {
                let (page, has_more) = page(next()?, PAGE, ListedUser::decode)?;
                AccountFound::Users { page, has_more }
            }
        })
    }
}

/// A value, or none. Bytes of another program are neither: nothing is known of that user.
fn read_value<T>(
    reply: Reply<'_>,
    decode: impl Fn(&[u8]) -> Option<T>,
) -> Result<Option<T>, EngineFailure> {
    match reply {
        Reply::Nil => Ok(None),
        Reply::Bulk(bytes) => decode(bytes).map(Some).ok_or(EngineFailure::Unavailable),
        _ => Err(EngineFailure::Refused),
    }
}

fn entries<'a>(
    reply: Reply<'a>,
) -> Result<impl Iterator<Item = &'a [u8]> + use<'a>, EngineFailure> {
    let Reply::Array(elements) = reply else { return Err(EngineFailure::Refused) };
    let elements: Elements<'a> = elements;
    Ok(elements.filter_map(Reply::bytes))
}

/// A page. Entries of another program are left out.
fn page<T>(
    reply: Reply<'_>,
    most: usize,
    decode: impl Fn(&[u8]) -> Option<T>,
) -> Result<(Vec<T>, bool), EngineFailure> {
    let Reply::Array(elements) = reply else { return Err(EngineFailure::Refused) };
    let has_more = elements.size_hint().0 > most;
    let page = elements.take(most).filter_map(Reply::bytes).filter_map(decode);
    Ok((page.collect(), has_more))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::command::Replies;
    use crate::protocol::resp::put_command;
    use crate::protocol::types::account::{Line, Publication};

    const MARK: [u8; 32] = [9; 32];

    /// The replies to a transaction of so many commands, the last of which is this array.
    fn executed(read: &AccountRead, parts: &[&[u8]]) -> Result<AccountFound, EngineFailure> {
        let keys = Keys::new("", MARK);
        let commands = read.request(&keys).commands;
        let mut bytes = b"+OK\r\n".to_vec();
        for _ in 2..commands {
            bytes.extend_from_slice(b"+QUEUED\r\n");
        }
        bytes.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
        bytes.extend_from_slice(&parts.concat());
        let replies = Replies::read(&bytes, commands).unwrap().unwrap().0;
        read.result(Ok(replies), &MARK)
    }

    fn bulk(text: &[u8]) -> Vec<u8> {
        [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
    }

    fn array(parts: &[Vec<u8>]) -> Vec<u8> {
        let words: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let mut bytes = Vec::new();
        // A command has the form of an array of texts.
        put_command(&words, &mut bytes);
        if parts.is_empty() { b"*0\r\n".to_vec() } else { bytes }
    }

    #[test]
    fn absence_is_known_only_beside_the_mark_of_the_slot() {
        let ana = UserName::new("ana").unwrap();
        let read = AccountRead::User(ana, None);
        let nil = b"$-1\r\n".as_slice();
        let none = Ok(AccountFound::User(UserRecord::default()));
        assert_eq!(executed(&read, &[&bulk(&MARK), nil, nil]), none);
        let value = AccountValue { key: None, nonce: [1; 8] };
        for (mark, user, connection, wanted) in [
            (nil.to_vec(), nil.to_vec(), nil.to_vec(), EngineFailure::Unavailable),
            (bulk(&[8; 32]), bulk(&value.encode()), nil.to_vec(), EngineFailure::Unavailable),
            (bulk(&MARK), bulk(b"of another program"), nil.to_vec(), EngineFailure::Unavailable),
            (bulk(&MARK), nil.to_vec(), bulk(b"x"), EngineFailure::Unavailable),
            (bulk(&MARK), b":1\r\n".to_vec(), nil.to_vec(), EngineFailure::Refused),
            (bulk(&MARK), b"-WRONGTYPE x\r\n".to_vec(), nil.to_vec(), EngineFailure::Refused),
        ] {
            assert_eq!(executed(&read, &[&mark, &user, &connection]), Err(wanted));
        }
        assert_eq!(executed(&read, &[&bulk(&MARK), nil]), Err(EngineFailure::Refused));
    }

    #[test]
    fn a_page_has_a_bound_and_leaves_foreign_entries_out() {
        let ana = UserName::new("ana").unwrap();
        let entry = |number: usize| {
            let file = Line::new(&format!("{number:04}")).unwrap();
            let what = Publication { file, description: Line::new("d").unwrap() };
            PublicationEntry { what, nonce: [3; 8] }
        };
        let read = AccountRead::Content(ana.clone(), Some(entry(0).what.file));
        let value = bulk(&AccountValue { key: None, nonce: [1; 8] }.encode());
        let mut all: Vec<Vec<u8>> = (0..=PAGE).map(|number| entry(number).encode()).collect();
        all[1] = b"of another program".to_vec();
        let found = executed(&read, &[&bulk(&MARK), &value, &array(&all)]);
        let Ok(AccountFound::Content { is_known: true, page, has_more: true }) = found else {
            panic!("{found:?}")
        };
        assert_eq!((page.len(), &page[1]), (PAGE - 1, &entry(2)));
        let read = AccountRead::Publishers(entry(0).what.file);
        let listed = ListedUser { user: ana, nonce: [4; 8] };
        let found = executed(&read, &[&bulk(&MARK), &array(&[listed.encode(), b"?".to_vec()])]);
        assert_eq!(found, Ok(AccountFound::Users { page: vec![listed], has_more: false }));
        assert_eq!(executed(&read, &[b"$-1\r\n", &array(&[])]), Err(EngineFailure::Unavailable));
    }
}
