//! A search: terms, filters, order and page size.
//!
//! [`Query::check`] validates a query as a whole: the query is not empty, and no part exceeds its
//! limit.

use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::types::account::UserName;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;

/// The text or content to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryTerm {
    /// Every file that passes the filters.
    Anything,
    /// The file of exactly this name.
    Name(RelativeName),
    /// Any file with this content.
    Root(ContentHash),
    /// Words in the name or description, in any order, ignoring case and accents. `"a phrase"`
    /// matches consecutive words; `-word` excludes.
    Contains(String),
    /// Words similar to words of the name or description; best match first.
    Like(String),
}

/// Conditions on the files found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Extensions without the dot, of which the name has one; empty: any name.
    pub ext: Vec<String>,
    /// Smallest size in bytes. A file of unknown size does not match.
    pub min_size: Option<u64>,
    /// Largest size in bytes.
    pub max_size: Option<u64>,
    /// Words in the description.
    pub description: Option<String>,
    /// The owner.
    pub owner: Option<UserName>,
    /// The content hash is known, or unknown.
    pub hashed: Option<bool>,
    /// The provider has all pieces, or still lacks some.
    pub complete: Option<bool>,
}

/// The key of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// Name, byte by byte.
    Name,
    /// Size; unknown sizes come before 0.
    Size,
}

/// The order of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The key.
    pub by: SortBy,
    /// Largest first.
    pub descending: bool,
}

/// All orders and their names on the wire.
const SORTS: [(&str, Sort); 4] = [
    ("name", Sort { by: SortBy::Name, descending: false }),
    ("-name", Sort { by: SortBy::Name, descending: true }),
    ("size", Sort { by: SortBy::Size, descending: false }),
    ("-size", Sort { by: SortBy::Size, descending: true }),
];

impl Sort {
    /// Parse a name of the wire.
    #[must_use]
    pub fn parse(word: &str) -> Option<Sort> {
        SORTS.iter().find(|(known, _)| *known == word).map(|(_, sort)| *sort)
    }

    /// Parse the `sort` of a request.
    ///
    /// # Errors
    /// `bad_request` for an unknown order.
    pub fn read(word: &str) -> Result<Sort, ErrorReply> {
        Sort::parse(word)
            .ok_or_else(|| ErrorReply::bad_request("sort is name, -name, size or -size"))
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        SORTS.iter().find(|(_, known)| *known == self).map_or("name", |(word, _)| word)
    }
}

/// A search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The text or content to find.
    pub wanted: QueryTerm,
    /// Conditions on the files found.
    pub filters: Filters,
    /// The order. `None`: best match first for [`QueryTerm::Like`], otherwise the order of the
    /// index.
    pub sort: Option<Sort>,
    /// The largest number of entries of the page.
    pub limit: usize,
    /// The cursor of the previous page.
    pub cursor: Option<String>,
}

impl Query {
    /// A query without filters and with the default page size.
    #[must_use]
    pub fn new(wanted: QueryTerm) -> Query {
        Query {
            wanted,
            filters: Filters::default(),
            sort: None,
            limit: limits::HOLDERS,
            cursor: None,
        }
    }

    /// Validate the query.
    ///
    /// # Errors
    /// `bad_request` for an empty or contradictory query, `too_large` beyond a limit.
    pub fn check(&self) -> Result<(), ErrorReply> {
        let Filters { ext, min_size, max_size, description, .. } = &self.filters;
        match &self.wanted {
            QueryTerm::Anything if self.filters == Filters::default() => {
                return Err(ErrorReply::bad_request("a search needs something to go by"));
            }
            QueryTerm::Contains(text) => words("contains", text, is_wanted)?,
            QueryTerm::Like(text) => words("like", text, |word| word.len() >= 3)?,
            QueryTerm::Anything | QueryTerm::Name(_) | QueryTerm::Root(_) => {}
        }
        if let Some(text) = description {
            words("description", text, is_wanted)?;
        }
        if ext.len() > limits::QUERY_EXTENSIONS
            || ext.iter().any(|ext| ext.len() > limits::EXTENSION_BYTES)
        {
            let text = format!(
                "ext holds at most {} extensions of {} bytes",
                limits::QUERY_EXTENSIONS,
                limits::EXTENSION_BYTES
            );
            return Err(ErrorReply::new(ErrorCode::TooLarge, text));
        }
        if ext.iter().any(|ext| {
            ext.is_empty() || ext.contains(['.', '/']) || ext.chars().any(char::is_control)
        }) {
            return Err(ErrorReply::bad_request(
                "an extension is what follows the last dot, without it",
            ));
        }
        if [min_size, max_size].into_iter().flatten().any(|size| *size > limits::LARGEST_INTEGER) {
            return Err(ErrorReply::new(ErrorCode::TooLarge, "an integer is at most 2^53-1"));
        }
        if min_size.zip(*max_size).is_some_and(|(min, max)| min > max) {
            return Err(ErrorReply::bad_request("min_size is above max_size"));
        }
        if self.limit == 0 || self.limit > limits::QUERY_ENTRIES {
            return Err(ErrorReply::bad_request(format!(
                "limit is not from 1 to {}",
                limits::QUERY_ENTRIES
            )));
        }
        if self.cursor.as_ref().is_some_and(|cursor| cursor.len() > limits::QUERY_CURSOR_BYTES) {
            return Err(ErrorReply::bad_cursor());
        }
        Ok(())
    }
}

/// Validate a text of words; `good` must accept at least one.
fn words(field: &str, text: &str, good: impl Fn(&str) -> bool) -> Result<(), ErrorReply> {
    if text.len() > limits::QUERY_TEXT_BYTES
        || text.split_whitespace().count() > limits::QUERY_WORDS
    {
        let text = format!(
            "{field} holds at most {} bytes and {} words",
            limits::QUERY_TEXT_BYTES,
            limits::QUERY_WORDS
        );
        return Err(ErrorReply::new(ErrorCode::TooLarge, text));
    }
    if !text.split_whitespace().any(good) {
        return Err(ErrorReply::bad_request(format!("{field} holds no word to look for")));
    }
    Ok(())
}

/// True for a word that is neither excluded nor made of dashes and quotes only.
fn is_wanted(word: &str) -> bool {
    !word.starts_with(['-', '–', '—', '−'])
        && word.contains(|letter| !"-‐‑‒–—―−\"“”„".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Query)) -> Option<ErrorCode> {
        let mut query = Query::new(QueryTerm::Contains("aula".into()));
        change(&mut query);
        query.check().err().map(|refusal| refusal.code)
    }

    #[test]
    fn every_order_is_read_as_it_is_spelled() {
        for (word, sort) in SORTS {
            assert_eq!((Sort::parse(word), sort.as_str()), (Some(sort), word));
        }
        assert_eq!(Sort::parse("holders"), None);
    }

    #[test]
    fn a_query_needs_something_to_go_by_and_has_limits() {
        let (bad, large) = (Some(ErrorCode::BadRequest), Some(ErrorCode::TooLarge));
        assert_eq!(refused(|_| {}), None);
        assert_eq!(refused(|query| query.wanted = QueryTerm::Anything), bad);
        assert_eq!(
            refused(
                |query| (query.wanted, query.filters.hashed) = (QueryTerm::Anything, Some(false))
            ),
            None
        );
        for text in ["", "  ", "-x", "-x -y", "-", "- -x", "–", "\"", "“”"] {
            assert_eq!(
                refused(|query| query.wanted = QueryTerm::Contains(text.into())),
                bad,
                "{text:?}"
            );
            assert_eq!(
                refused(|query| query.filters.description = Some(text.into())),
                bad,
                "{text:?}"
            );
        }
        assert_eq!(refused(|query| query.wanted = QueryTerm::Like("ab 12".into())), bad);
        assert_eq!(
            refused(
                |query| query.wanted = QueryTerm::Like("x".repeat(limits::QUERY_TEXT_BYTES + 1))
            ),
            large
        );
        assert_eq!(
            refused(
                |query| query.wanted = QueryTerm::Contains("x ".repeat(limits::QUERY_WORDS + 1))
            ),
            large
        );
        for ext in ["", ".mkv", "a/b", "tar.gz"] {
            assert_eq!(refused(|query| query.filters.ext = vec![ext.into()]), bad, "{ext:?}");
        }
        assert_eq!(
            refused(|query| query.filters.ext = vec!["x".repeat(limits::EXTENSION_BYTES + 1)]),
            large
        );
        assert_eq!(
            refused(|query| query.filters.ext = vec!["x".into(); limits::QUERY_EXTENSIONS + 1]),
            large
        );
        assert_eq!(
            refused(|query| (query.filters.min_size, query.filters.max_size) = (Some(2), Some(1))),
            bad
        );
        assert_eq!(refused(|query| query.filters.min_size = Some(1 << 53)), large);
        assert_eq!(refused(|query| query.limit = 0), bad);
        assert_eq!(refused(|query| query.limit = limits::QUERY_ENTRIES + 1), bad);
        assert_eq!(
            refused(|query| query.cursor = Some("x".repeat(limits::QUERY_CURSOR_BYTES + 1))),
            bad
        );
    }
}
