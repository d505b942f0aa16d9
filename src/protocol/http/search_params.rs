//! Search parameters of a page or script, with the meaning of the fields of a native SEARCH.

use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::http::query_string::QueryString as Parameters;
use crate::protocol::types::account::UserName;
use crate::protocol::types::query::{Filters, Query, QueryTerm, Sort};

/// Build the query; `None` for an empty search, which finds nothing.
///
/// # Errors
/// `bad_request`, `bad_name` or `too_large` for an invalid parameter.
pub fn search(of: &Parameters) -> Result<Option<Query>, ErrorReply> {
    let text = |key| of.get(key).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let filters = Filters {
        ext: text("ext")
            .map(|list| list.split(',').map(|ext| ext.trim().to_owned()).collect())
            .unwrap_or_default(),
        min_size: number(of, "min_size")?,
        max_size: number(of, "max_size")?,
        description: text("description"),
        owner: text("owner")
            .map(|user| UserName::new(&user))
            .transpose()
            .map_err(|why| ErrorReply::new(ErrorCode::BadName, format!("owner must not {why}")))?,
        hashed: yes_or_no(of, "hashed")?,
        complete: yes_or_no(of, "complete")?,
    };
    let wanted = match (text("q"), text("like")) {
        (Some(_), Some(_)) => return Err(ErrorReply::bad_request("only one of q and like")),
        (Some(words), None) => QueryTerm::Contains(words),
        (None, Some(words)) => QueryTerm::Like(words),
        (None, None) if filters == Filters::default() => return Ok(None),
        (None, None) => QueryTerm::Anything,
    };
    let sort = text("sort").map(|word| Sort::read(&word)).transpose()?;
    let limit = number(of, "limit")?
        .map_or(limits::HOLDERS, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let cursor = of.get("cursor").map(str::to_owned);
    let query = Query { wanted, filters, sort, limit, cursor };
    query.check()?;
    Ok(Some(query))
}

fn number(of: &Parameters, key: &str) -> Result<Option<u64>, ErrorReply> {
    of.get(key)
        .filter(|text| !text.is_empty())
        .map(|text| {
            text.parse().map_err(|_| ErrorReply::bad_request(format!("{key} is no number")))
        })
        .transpose()
}

fn yes_or_no(of: &Parameters, key: &str) -> Result<Option<bool>, ErrorReply> {
    match of.get(key) {
        None | Some("") => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(_) => Err(ErrorReply::bad_request(format!("{key} is true or false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn searched(text: &str) -> Result<Option<Query>, ErrorCode> {
        search(&Parameters::of(text).unwrap()).map_err(|refusal| refusal.code)
    }

    #[test]
    fn every_filter_has_its_parameter() {
        let query = searched("q=aula&ext=mp4,mkv&min_size=1&max_size=9&description=x&owner=ana&hashed=true&complete=0&sort=-size&limit=5&cursor=c")
            .unwrap()
            .unwrap();
        let filters = Filters {
            ext: vec!["mp4".into(), "mkv".into()],
            min_size: Some(1),
            max_size: Some(9),
            description: Some("x".into()),
            owner: UserName::new("ana").ok(),
            hashed: Some(true),
            complete: Some(false),
        };
        let wanted = QueryTerm::Contains("aula".into());
        assert_eq!(
            query,
            Query {
                wanted,
                filters,
                sort: Sort::parse("-size"),
                limit: 5,
                cursor: Some("c".into())
            }
        );
        assert_eq!(
            searched("like=aulla").unwrap().unwrap().wanted,
            QueryTerm::Like("aulla".into())
        );
        assert_eq!(searched("ext=mp4").unwrap().unwrap().wanted, QueryTerm::Anything);
        assert_eq!((searched("q=+"), searched("")), (Ok(None), Ok(None)));
    }

    #[test]
    fn contradictory_parameters_are_refused() {
        for text in [
            "q=a&like=abc",
            "q=a&limit=0",
            "q=a&limit=x",
            "q=a&min_size=-1",
            "q=a&hashed=perhaps",
            "q=a&sort=age",
            "q=-a",
            "q=a&min_size=9&max_size=1",
        ] {
            assert_eq!(searched(text), Err(ErrorCode::BadRequest), "{text}");
        }
    }
}
