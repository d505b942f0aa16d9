//! Split a line into words.

/// The first word of a line and the rest; a word in double quotes may hold blanks.
#[must_use]
pub fn word(line: &str) -> (&str, &str) {
    let line = line.trim();
    let quoted = line.strip_prefix('"').and_then(|rest| rest.split_once('"'));
    let (word, rest) =
        quoted.or_else(|| line.split_once(char::is_whitespace)).unwrap_or((line, ""));
    (word, rest.trim())
}

/// All words of a line.
#[must_use]
pub fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (first, more) = word(rest);
        words.push(first);
        rest = more;
    }
    words
}

/// A text without the quotes around it.
#[must_use]
pub fn unquoted(text: &str) -> &str {
    text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_blanks_outside_of_quotes() {
        assert_eq!(words("  ana \"two words.mp4\"  b "), ["ana", "two words.mp4", "b"]);
        assert_eq!(words("\"never closed x"), ["\"never", "closed", "x"]);
        assert_eq!(words(" "), [""; 0]);
        assert_eq!(
            (unquoted("\"a b\""), unquoted("a \"b\""), unquoted("\"")),
            ("a b", "a \"b\"", "\"")
        );
    }
}
