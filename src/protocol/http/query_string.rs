//! Query strings, as browsers encode forms.

use crate::limits;
use crate::protocol::error::ErrorReply;
use crate::protocol::http::percent_decoded;

/// The parameters of a request. Unknown ones are ignored.
#[derive(Debug, PartialEq, Eq)]
pub struct QueryString(Vec<(String, String)>);

impl QueryString {
    /// Parse the text behind `?`.
    ///
    /// # Errors
    /// `bad_request` when the text is too long, has an invalid `%`, is no UTF-8, or repeats a
    /// parameter.
    pub fn of(text: &str) -> Result<QueryString, ErrorReply> {
        if text.len() > limits::QUERY_STRING_BYTES {
            return Err(ErrorReply::bad_request("the query is too long"));
        }
        let mut fields: Vec<(String, String)> = Vec::new();
        for field in text.split('&').filter(|field| !field.is_empty()) {
            if fields.len() == limits::QUERY_STRING_FIELDS {
                return Err(ErrorReply::bad_request("too many parameters"));
            }
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            let plain = |text: &str| {
                percent_decoded(&text.replace('+', " "))
                    .ok_or_else(|| ErrorReply::bad_request("a % is broken, or that is no UTF-8"))
            };
            let (key, value) = (plain(key)?, plain(value)?);
            if fields.iter().any(|(known, _)| *known == key) {
                return Err(ErrorReply::bad_request("a parameter is there twice"));
            }
            fields.push((key, value));
        }
        Ok(QueryString(fields))
    }

    /// The value of a parameter.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// The value of a required parameter.
    ///
    /// # Errors
    /// `bad_request` when absent.
    pub fn needed(&self, key: &str) -> Result<&str, ErrorReply> {
        self.get(key).ok_or_else(|| ErrorReply::bad_request(format!("{key} is missing")))
    }

    /// The cursor of the previous page.
    ///
    /// # Errors
    /// `bad_request` when too long.
    pub fn cursor(&self) -> Result<Option<String>, ErrorReply> {
        match self.get("cursor") {
            Some(text) if text.len() > limits::CURSOR_BYTES => Err(ErrorReply::bad_cursor()),
            other => Ok(other.map(str::to_owned)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::error::ErrorCode;

    #[test]
    fn parameters_are_decoded_as_browsers_encode_them() {
        let query = QueryString::of("q=aula+1+%26+%C3%A7%2B&cursor=7&&new").unwrap();
        assert_eq!(query.get("q"), Some("aula 1 & ç+"));
        assert_eq!((query.get("new"), query.get("none")), (Some(""), None));
        assert_eq!(query.cursor(), Ok(Some("7".into())));
        assert_eq!(QueryString::of("").unwrap().cursor(), Ok(None));
        assert!(QueryString::of("").unwrap().needed("q").is_err());
    }

    #[test]
    fn a_broken_or_endless_query_is_a_bad_request() {
        let long = "q=".to_owned() + &"x".repeat(limits::QUERY_STRING_BYTES);
        let many = "a&".repeat(3)
            + &(0..limits::QUERY_STRING_FIELDS + 1).map(|n| format!("k{n}&")).collect::<String>();
        for text in ["q=%", "q=%1", "q=%zz", "q=%+1", "q=%ff", "q=1&q=2", "q&%71", &long, &many] {
            assert_eq!(
                QueryString::of(text).map_err(|refusal| refusal.code),
                Err(ErrorCode::BadRequest),
                "{text:.40}"
            );
        }
        let cursor = "cursor=".to_owned() + &"1".repeat(limits::CURSOR_BYTES + 1);
        assert!(QueryString::of(&cursor).unwrap().cursor().is_err());
    }
}
