//! A search beyond an exact name: terms, exclusions, filters, order and page size.
//!
//! A query is checked as a whole ([`Query::check`]): it has something to go by, and nothing in it is longer than anybody means.

use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::types::account::UserName;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryTerm {
    /// Whatever the filters leave.
    Anything,
    /// The file of exactly this name.
    Name(RelativeName),
    /// This content, whatever its name.
    Root(ContentHash),
    /// Words that the name or the description holds, in any order and whatever their case and accents; `"a phrase"`; `-word`: and not this one.
    Contains(String),
    /// Words that the name or the description nearly holds: the best come first.
    Like(String),
}

/// Which of the files that were found count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Their names end in one of these, without the dot; empty: in whatever.
    pub ext: Vec<String>,
    /// They have at least so many bytes. A file whose size nobody has said has no size.
    pub min_size: Option<u64>,
    /// And at most so many.
    pub max_size: Option<u64>,
    /// Words that the description holds.
    pub description: Option<String>,
    /// This user has them.
    pub owner: Option<UserName>,
    /// Their content is known, or it is not.
    pub hashed: Option<bool>,
    /// All of them is there, or it is not.
    pub complete: Option<bool>,
}

/// By what files are put in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// The bytes of their names.
    Name,
    /// Their sizes; those that nobody has said count less than nothing.
    Size,
}

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub by: SortBy,
    /// The last come first.
    pub descending: bool,
}

/// The orders that can be asked for, as they are spelled.
const SORTS: [(&str, Sort); 4] = [
    ("name", Sort { by: SortBy::Name, descending: false }),
    ("-name", Sort { by: SortBy::Name, descending: true }),
    ("size", Sort { by: SortBy::Size, descending: false }),
    ("-size", Sort { by: SortBy::Size, descending: true }),
];

impl Sort {
    /// The order that is spelled so.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Sort> {
        SORTS.iter().find(|(known, _)| *known == word).map(|(_, sort)| *sort)
    }

    /// The order that a request spells so.
    ///
    /// # Errors
    /// `bad_request` where there is none.
    pub fn read(word: &str) -> Result<Sort, ErrorReply> {
        Sort::of_word(word).ok_or_else(|| bad("sort is name, -name, size or -size"))
    }

    /// How it is spelled.
    #[must_use]
    pub fn word(self) -> &'static str {
        SORTS.iter().find(|(_, known)| *known == self).map_or("name", |(word, _)| word)
    }
}

/// A search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// What is looked for.
    pub wanted: QueryTerm,
    /// What of it counts.
    pub filters: Filters,
    /// In which order; `None`: the best first where that means something, else as the index has them.
    pub sort: Option<Sort>,
    /// How many one answer holds at most.
    pub limit: usize,
    /// Where the last answer ended.
    pub cursor: Option<String>,
}

impl Query {
    /// All that is like this, a usual page at a time.
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

    /// Checks all of it.
    ///
    /// # Errors
    /// `bad_request` for what makes no sense, `too_large` for what is longer than anybody means.
    pub fn check(&self) -> Result<(), ErrorReply> {
        let Filters { ext, min_size, max_size, description, .. } = &self.filters;
        match &self.wanted {
            QueryTerm::Anything if self.filters == Filters::default() => {
                return Err(bad("a search needs something to go by"));
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
            return Err(bad("an extension is what follows the last dot, without it"));
        }
        if [min_size, max_size].into_iter().flatten().any(|size| *size > limits::LARGEST_INTEGER) {
            return Err(ErrorReply::new(ErrorCode::TooLarge, "an integer is at most 2^53-1"));
        }
        if min_size.zip(*max_size).is_some_and(|(min, max)| min > max) {
            return Err(bad("min_size is above max_size"));
        }
        if self.limit == 0 || self.limit > limits::QUERY_ENTRIES {
            return Err(bad(&format!("limit is not from 1 to {}", limits::QUERY_ENTRIES)));
        }
        if self.cursor.as_ref().is_some_and(|cursor| cursor.len() > limits::QUERY_CURSOR_BYTES) {
            return Err(bad("cursor is not one of ours"));
        }
        Ok(())
    }
}

/// Checks a text of words; at least one of them must be good to search by.
fn words(field: &str, text: &str, good: impl Fn(&str) -> bool) -> Result<(), ErrorReply> {
    if text.len() > limits::FIND_BYTES || text.split_whitespace().count() > limits::QUERY_WORDS {
        let text = format!(
            "{field} holds at most {} bytes and {} words",
            limits::FIND_BYTES,
            limits::QUERY_WORDS
        );
        return Err(ErrorReply::new(ErrorCode::TooLarge, text));
    }
    if !text.split_whitespace().any(good) {
        return Err(bad(&format!("{field} holds no word to look for")));
    }
    Ok(())
}

/// True for a word that is looked for: one without a dash before it, that is more than dashes and quotes.
fn is_wanted(word: &str) -> bool {
    !word.starts_with(['-', '–', '—', '−'])
        && word.contains(|letter| !"-‐‑‒–—―−\"“”„".contains(letter))
}

fn bad(text: &str) -> ErrorReply {
    ErrorReply::new(ErrorCode::BadRequest, text)
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
            assert_eq!((Sort::of_word(word), sort.word()), (Some(sort), word));
        }
        assert_eq!(Sort::of_word("holders"), None);
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
            refused(|query| query.wanted = QueryTerm::Like("x".repeat(limits::FIND_BYTES + 1))),
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
