//! The response to FOLDER.

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::protocol::native::{AnswerShape, FileShape, Object, TextShape, put};
use crate::protocol::response::FolderPage;
use crate::protocol::types::file_name::printable;
use crate::protocol::types::folder::{FolderFile, FolderSummary};
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;

/// The status of the response.
pub(super) const STATUS: &str = "FOLDER_OK";

#[derive(Serialize)]
struct FolderFileOut<'a> {
    name: &'a str,
    size: u64,
    root: Option<String>,
}

#[derive(Serialize)]
struct FolderOut<'a> {
    name: &'a str,
    count: u64,
    size: u64,
    root: Option<String>,
    files: Vec<FolderFileOut<'a>>,
    cursor: Option<&'a str>,
}

/// Write a page.
pub(super) fn write_response(id: Option<u64>, page: &FolderPage, out: &mut Vec<u8>) {
    let FolderPage { name, summary, files, cursor } = page;
    let text = |root: Option<ContentHash>| root.map(|root| root.to_string());
    let files = files.iter().map(|file| FolderFileOut {
        name: &file.name,
        size: file.size,
        root: text(file.root),
    });
    let fields = FolderOut {
        name,
        count: summary.count,
        size: summary.size,
        root: text(summary.root),
        files: files.collect(),
        cursor: cursor.as_deref(),
    };
    put(out, &AnswerShape { id, status: STATUS, fields });
}

#[derive(Deserialize)]
struct FolderShape<'a> {
    #[serde(borrow)]
    name: TextShape<'a>,
    count: u64,
    size: u64,
    #[serde(borrow)]
    root: Option<TextShape<'a>>,
    #[serde(borrow)]
    files: Vec<Object<FileShape<'a>>>,
    #[serde(borrow)]
    cursor: Option<TextShape<'a>>,
}

/// Decode a page; `None` for another status. A wrong entry spoils the page: a folder without some
/// of its files is another folder.
pub(super) fn response(status: &str, line: &[u8]) -> Result<Option<FolderPage>, String> {
    if status != STATUS {
        return Ok(None);
    }
    let shape: FolderShape<'_> = serde_json::from_slice(line)
        .map_err(|error| format!("not an answer: {}", printable(&error.to_string())))?;
    let name = RelativeName::new(&shape.name).map_err(|_| "a folder without a good name")?;
    let root = match shape.root.as_deref() {
        None => None,
        Some(text) => Some(ContentHash::parse(text).ok_or("a folder with a root that is none")?),
    };
    if shape.count.max(shape.size) > limits::LARGEST_INTEGER {
        return Err("a folder of an absurd size".into());
    }
    if shape.files.len() > limits::FOLDER_ENTRIES {
        return Err("a page of a folder with too many files".into());
    }
    let file = |Object(file): Object<FileShape<'_>>| {
        let entry = file.entry().ok()?;
        Some(FolderFile { name: entry.name, size: entry.size?, root: entry.root })
    };
    let files: Option<Vec<FolderFile>> = shape.files.into_iter().map(file).collect();
    let cursor = shape
        .cursor
        .filter(|text| text.len() <= limits::QUERY_CURSOR_BYTES)
        .map(|text| text.to_string());
    Ok(Some(FolderPage {
        name,
        summary: FolderSummary { count: shape.count, size: shape.size, root },
        files: files.ok_or("a folder with a wrong entry")?,
        cursor,
    }))
}
