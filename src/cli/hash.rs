//! `cardume hash`: content hashes of files, in the format of `b3sum`. No network and no loop;
//! Ctrl-C ends it.

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};
use std::path::Path;

use cardume::limits;
use cardume::os::fs::local_file::LocalFile;
use cardume::os::stdio::StdStreams;
use cardume::os::terminal;
use cardume::protocol::types::ids::ContentHash;
use cardume::storage::hasher::HASH_READ_BYTES;
use cardume::storage::piece_tree::{self, PieceHasher, TreeBuilder};
use cardume::ui::event::exit;
use cardume::ui::lang::Lang;
use cardume::ui::text;
use serde_json::json;

use crate::cli::args::HashArgs;
use crate::cli::{Outputs, shown_path};

/// Bytes between two progress updates: some tenths of a second of a fast disk.
const STRIDE: u64 = 256 << 20;

/// A piece as a buffer length: a whole number of steps.
#[allow(clippy::cast_possible_truncation)]
const PIECE: usize = limits::PIECE_BYTES as usize;

/// Prints the root of each file, and returns the exit code.
pub fn hash(args: &HashArgs, lang: Lang, outputs: &Outputs) -> i32 {
    let Outputs { out, err, .. } = outputs;
    let mut code = exit::DONE;
    let mut buffers = Buffers { piece: vec![0; PIECE], step: vec![0; HASH_READ_BYTES] };
    let progress = HashProgress {
        to: (std::io::stderr().is_terminal() && !terminal::is_dumb()).then_some(err),
    };
    for name in &args.files {
        let found = open(name).and_then(|mut file| root(&mut file, &mut buffers, &progress));
        progress.clear();
        match found {
            Ok((root, size)) => {
                out.put(line(&name.to_string_lossy(), size, root, args.json).as_bytes())
            }
            Err(error) => {
                err.put(
                    format!("cardume: {}: {}\n", shown_path(name), text::cause(&error, lang))
                        .as_bytes(),
                );
                err.flush();
                code = exit::LOCAL;
            }
        }
        // Each line at once, because some files take minutes.
        out.flush();
        if out.has_no_reader() {
            // The reader has gone, or the disk is full: no output is left to hash for.
            break;
        }
    }
    code
}

fn open(name: &OsStr) -> io::Result<LocalFile> {
    if name == "-" { LocalFile::stdin() } else { LocalFile::open(Path::new(name)) }
}

/// Buffers for a whole piece, and for one step of a further piece.
struct Buffers {
    piece: Vec<u8>,
    step: Vec<u8>,
}

/// Reads a whole file; returns the root and the size.
fn root(
    file: &mut LocalFile,
    buffers: &mut Buffers,
    progress: &HashProgress<'_>,
) -> io::Result<(ContentHash, u64)> {
    let Buffers { piece, step } = buffers;
    // The tree of a single piece differs from that of the first of several, so this piece waits for
    // the next read.
    let have = file.fill(piece)?;
    let mut came = if have == piece.len() { file.fill(step)? } else { 0 };
    let mut total = (have + came) as u64;
    let mut merger = TreeBuilder::default();
    merger.push(piece_tree::piece_hash(total, 0, &piece[..have]));
    let mut under_way = None;
    while came > 0 {
        let hasher = under_way.get_or_insert_with(|| PieceHasher::new(total, merger.count()));
        hasher.take(&step[..came]);
        if total.is_multiple_of(limits::PIECE_BYTES) {
            merger.push(hasher.finish());
            under_way = None;
        }
        progress.show(total, file.size());
        came = file.fill(step)?;
        total += came as u64;
    }
    if let Some(hasher) = under_way {
        merger.push(hasher.finish());
    }
    Ok((merger.root(), total))
}

/// A line in the format of `b3sum --check`, or a JSON object.
fn line(name: &str, size: u64, root: ContentHash, json: bool) -> String {
    if json {
        return format!("{}\n", json!({"name": name, "size": size, "root": root.to_string()}));
    }
    if name.contains(['\\', '\n', '\r']) {
        let name = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        return format!("\\{root}  {name}\n");
    }
    format!("{root}  {name}\n")
}

/// Progress of a large file on a terminal.
struct HashProgress<'a> {
    to: Option<&'a StdStreams>,
}

impl HashProgress<'_> {
    fn show(&self, done: u64, of: Option<u64>) {
        let Some(to) = self.to.filter(|_| done.is_multiple_of(STRIDE)) else { return };
        let text = match of.filter(|of| *of >= done) {
            Some(of) => format!("\r\x1b[K{} %", u128::from(done) * 100 / u128::from(of.max(1))),
            None => format!("\r\x1b[K{}", bytesize::ByteSize(done)),
        };
        to.put(text.as_bytes());
        to.flush();
    }

    fn clear(&self) {
        if let Some(to) = self.to {
            to.put(b"\r\x1b[K");
            to.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_line_are_escaped_as_b3sum_does() {
        let root = ContentHash([0xab; 32]);
        let hex = "ab".repeat(32);
        assert_eq!(line("a b.mp4", 1, root, false), format!("{hex}  a b.mp4\n"));
        assert_eq!(line("a\\b\nc\rd", 1, root, false), format!("\\{hex}  a\\\\b\\nc\\rd\n"));
        assert_eq!(
            line("a\nb", 7, root, true),
            format!("{{\"name\":\"a\\nb\",\"root\":\"{hex}\",\"size\":7}}\n")
        );
    }
}
