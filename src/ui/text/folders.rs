//! Downloads of folders, in words.

use crate::protocol::types::folder::FolderSummary;
use crate::ui::event::FolderEvent;
use crate::ui::lang::Lang;
use crate::ui::text::Output;

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
