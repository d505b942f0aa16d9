//! Files of a long JOIN or UPDATE, decoded in slices: a line of a mebibyte takes several
//! milliseconds as a whole.
//!
//! The line stays in the receive buffer meanwhile. Its files are decoded one after the other; then
//! the line without the files is decoded as usual. A line that is unusual in any way, such as one
//! with a wrong file, is decoded as a whole instead. So the result is the same for every line.

use serde::Deserialize;
use serde_json::Deserializer;

use crate::limits;
use crate::protocol::Role;
use crate::protocol::native::decode_request::{FileIn, request};
use crate::protocol::native::{NumberedRequest, Object};
use crate::protocol::request::{FileEntry, Request};

/// The list of files starts within so many bytes: other fields of a JOIN are short.
const HEAD: usize = 4 << 10;

/// A line in progress.
#[derive(Debug)]
pub struct SlicedFiles {
    /// Offset of the first byte behind the opening bracket.
    start: usize,
    /// Offset of the next file, or of a blank before.
    at: usize,
    files: Vec<FileEntry>,
}

/// The state of a line after a slice.
#[derive(Debug)]
pub enum SliceStep {
    /// Other files are left.
    More,
    /// The whole request.
    Done(NumberedRequest),
    /// The line is to be decoded as a whole.
    Unusual,
}

impl SlicedFiles {
    /// Begin a line; `None` for a line without a list of files near its start.
    pub fn begin(line: &[u8]) -> Option<SlicedFiles> {
        let start = list_of_files(line.get(..HEAD)?)?;
        Some(SlicedFiles { start, at: start, files: Vec::new() })
    }

    /// Decode files of at most about `work` bytes; every call makes progress.
    pub fn step(&mut self, line: &[u8], work: &mut usize, role: Role) -> SliceStep {
        loop {
            self.skip_blanks(line);
            if self.files.is_empty() && line.get(self.at) == Some(&b']') {
                return self.finish(line, role);
            }
            let Some(rest) = line.get(self.at..) else { return SliceStep::Unusual };
            let mut values = Deserializer::from_slice(rest).into_iter::<OneFile>();
            let Some(Ok(OneFile(file))) = values.next() else { return SliceStep::Unusual };
            let used = values.byte_offset();
            if self.files.len() == limits::PART_FILES {
                return SliceStep::Unusual;
            }
            self.files.push(file);
            self.at += used;
            *work = work.saturating_sub(used);
            self.skip_blanks(line);
            match line.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b']') => return self.finish(line, role),
                _ => return SliceStep::Unusual,
            }
            if *work == 0 {
                return SliceStep::More;
            }
        }
    }

    fn skip_blanks(&mut self, line: &[u8]) {
        while line.get(self.at).is_some_and(|byte| b" \t\r\n".contains(byte)) {
            self.at += 1;
        }
    }

    /// Decode the line without its files, which then take their place.
    fn finish(&mut self, line: &[u8], role: Role) -> SliceStep {
        let (Some(before), Some(behind)) = (line.get(..self.start), line.get(self.at..)) else {
            return SliceStep::Unusual;
        };
        let Ok(mut asked) = request(&[before, behind].concat(), role) else {
            return SliceStep::Unusual;
        };
        let place = match &mut asked.request {
            Ok(Request::Join(join)) => &mut join.files,
            Ok(Request::Update { files, .. }) => files,
            _ => return SliceStep::Unusual,
        };
        *place = std::mem::take(&mut self.files);
        SliceStep::Done(asked)
    }
}

/// A file with valid values.
struct OneFile(FileEntry);

impl<'de> Deserialize<'de> for OneFile {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<OneFile, D::Error> {
        let Object(file) = Object::<FileIn<'de>>::deserialize(from)?;
        file.entry().map(OneFile).map_err(|_| serde::de::Error::custom("a wrong file"))
    }
}

/// Offset behind the bracket that opens the list in the field `files` of the outer object.
fn list_of_files(head: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = head.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b'"' => {
                let start = at;
                loop {
                    match head.get(at)? {
                        b'"' => break,
                        b'\\' => at += 2,
                        _ => at += 1,
                    }
                }
                let text = head.get(start..at)?;
                at += 1;
                if depth == 1 && text == b"files" {
                    let mut next =
                        (at..).zip(head.get(at..)?).filter(|(_, byte)| !byte.is_ascii_whitespace());
                    if next.next()?.1 == &b':' {
                        let (at, byte) = next.next()?;
                        return (*byte == b'[').then_some(at + 1);
                    }
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The result of a line in slices of `work` bytes, and the number of slices.
    fn sliced(line: &[u8], work: usize) -> Option<(NumberedRequest, usize)> {
        let mut files = SlicedFiles::begin(line)?;
        for slices in 1.. {
            match files.step(line, &mut work.clone(), Role::Server) {
                SliceStep::More => {}
                SliceStep::Done(asked) => return Some((asked, slices)),
                SliceStep::Unusual => return None,
            }
        }
        None
    }

    fn padded(head: &str, files: &str, tail: &str) -> String {
        format!("{{{head}\"files\":[{files}]{tail}}}{}", " ".repeat(HEAD))
    }

    #[test]
    fn files_in_slices_make_the_same_request() {
        let files: Vec<String> = (0..500)
            .map(|number| format!("{{\"name\":\"Título \\u00e9 {number}.mp4\",\"size\":{number}}}"))
            .collect();
        for glue in [",", " ,\t"] {
            let files = files.join(glue);
            for (head, tail) in [
                ("\"id\":1,\"method\":\"JOIN\",\"port\":1,", ""),
                ("\"id\":1,\"method\":\"UPDATE\",\"remove\":[\"a\"],", ""),
                (" \"method\" : \"JOIN\", \"new\":{\"files\":[]},", ",\"port\":1,\"more\":true"),
            ] {
                let line = padded(head, &files, tail);
                let (asked, slices) = sliced(line.as_bytes(), 1_000).unwrap();
                assert_eq!(Ok(asked), request(line.as_bytes(), Role::Server), "{line}");
                assert!((20..80).contains(&slices), "{slices}");
            }
        }
        let none = padded("\"method\":\"JOIN\",\"port\":1,", " ", "");
        assert_eq!(
            Ok(sliced(none.as_bytes(), 1).unwrap().0),
            request(none.as_bytes(), Role::Server)
        );
    }

    #[test]
    fn unusual_lines_are_left_to_the_whole_decoder() {
        let good = "{\"name\":\"a\",\"size\":1}";
        let join = "\"method\":\"JOIN\",\"port\":1,";
        for (head, files, tail) in [
            (join, "{\"name\":\"../a\",\"size\":1}", ""),
            (join, "{\"name\":\"a\"}", ""),
            (join, "{\"name\":\"a\",\"size\":1,\"new\":1}", ""),
            (join, "[\"a\",1]", ""),
            (join, "1", ""),
            (join, "{\"name\":\"a\",\"size\":1},", ""),
            (join, "{\"name\":\"a\",\"size\":1}{\"name\":\"b\",\"size\":1}", ""),
            (join, good, ",\"files\":[]"),
            (join, good, ",,"),
            ("\"method\":\"JOIN\",", good, ""),
            ("\"method\":\"SEARCH\",", good, ""),
            ("\"method\":\"files\",\"text\":\"files\",", good, ""),
        ] {
            let line = padded(head, files, tail);
            assert!(sliced(line.as_bytes(), 10).is_none(), "{line}");
        }
        for line in [
            "",
            "{}",
            "{\"files\":1}",
            "{\"files\":[",
            "[\"files\",[1]]",
            "{\"files\"",
            "\"files\":[",
        ] {
            assert!(SlicedFiles::begin(line.as_bytes()).is_none(), "{line}");
            let long = format!("{line}{}", " ".repeat(HEAD));
            assert!(sliced(long.as_bytes(), 10).is_none(), "{line}");
        }
        let many = vec![good; limits::PART_FILES + 1].join(",");
        assert!(sliced(padded(join, &many, "").as_bytes(), 1 << 20).is_none());
    }

    proptest! {
        /// A line of any parts has no other result in slices.
        #[test]
        fn a_line_in_slices_never_has_another_result(
            parts in proptest::collection::vec(proptest::sample::select(&[
                "{", "}", "[", "]", ",", ":", "\"files\":[", "\"method\":\"JOIN\",", "\"port\":1,", "\"id\":7,", "\"more\":true",
                "{\"name\":\"a\",\"size\":1}", "{\"name\":\"b\",\"size\":2,\"partial\":true},", "\"name\":\"x\"", " ", "\\", "\"", "null", "\u{e9}",
            ][..]), 0..14),
            work in 1_usize..80,
        ) {
            let line = format!("{{\"id\":1,{}{}", parts.concat(), " ".repeat(HEAD));
            if let Some((asked, _)) = sliced(line.as_bytes(), work) {
                prop_assert_eq!(Ok(asked), request(line.as_bytes(), Role::Server), "{}", line);
            }
        }
    }
}
