//! Downloads of folders, in words.

use crate::protocol::types::folder::FolderSummary;
use crate::ui::event::{FolderEvent, Preview};
use crate::ui::lang::Lang;
use crate::ui::text::{Output, size};

/// An event in words: a line at the beginning and at the end, none for each file.
pub(super) fn say(event: &FolderEvent, lang: Lang) -> Output {
    match event {
        FolderEvent::Begun { name, from, summary } => {
            let FolderSummary { count, size, .. } = summary;
            Output::Note(match lang {
                Lang::Pt => format!("{name}/: {count} arquivos, {size} bytes, de {from}"),
                Lang::Es => format!("{name}/: {count} archivos, {size} bytes, de {from}"),
                Lang::En => format!("{name}/: {count} files, {size} bytes, from {from}"),
            })
        }
        FolderEvent::Saved { name, folder, summary } => {
            let count = summary.count;
            Output::Line(match lang {
                Lang::Pt => {
                    format!("Pasta {name} baixada com sucesso na pasta {folder}: {count} arquivos")
                }
                Lang::Es => {
                    format!("Carpeta {name} descargada en la carpeta {folder}: {count} archivos")
                }
                Lang::En => format!("Folder {name} saved in folder {folder}: {count} files"),
            })
        }
        FolderEvent::Progress(_) | FolderEvent::File { .. } | FolderEvent::Same { .. } => {
            Output::Silent
        }
    }
}

/// The files that a search has found: a row for each, then the sum and the room on the disk.
pub(super) fn preview(preview: &Preview, lang: Lang) -> Output {
    let (count, bytes, free) = (preview.files.len(), preview.size(), size(preview.free));
    let sum = match lang {
        Lang::Pt => format!("{count} arquivos, {bytes} bytes; espaço livre: {free} bytes"),
        Lang::Es => format!("{count} archivos, {bytes} bytes; espacio libre: {free} bytes"),
        Lang::En => format!("{count} files, {bytes} bytes; free space: {free} bytes"),
    };
    let more = match lang {
        Lang::Pt => "há mais arquivos; use mais palavras",
        Lang::Es => "hay más archivos; use más palabras",
        Lang::En => "there are more files; use more words",
    };
    let rows = preview.files.iter().map(|(name, bytes)| format!("{}\t{name}", size(*bytes)));
    let rows = rows.chain([sum]).chain(preview.has_more.then(|| more.to_owned()));
    Output::Note(rows.collect::<Vec<_>>().join("\n"))
}
