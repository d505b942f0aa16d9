//! From bytes of a terminal to keys: UTF-8 and escape sequences, which may come in pieces. It knows nothing of lines.

use std::mem;

/// How much of an escape sequence is kept, far more than any known key has.
const SEQUENCE_MAX: usize = 32;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Text(char),
    Left,
    Right,
    Home,
    End,
    Up,
    Down,
    Backspace,
    Delete,
    /// Ctrl-D, which ends the input where there is nothing to delete.
    DeleteOrEnd,
    CutBefore,
    CutBehind,
    CutWord,
    Clear,
    Tab,
    Enter,
    Interrupt,
}

/// What of a key has come so far.
#[derive(Debug)]
pub(super) enum Keys {
    /// Nothing: a key begins.
    Plain,
    /// A carriage return, to which a line feed right behind it belongs.
    Return,
    /// The first bytes of a character.
    Character { bytes: [u8; 4], len: usize },
    /// ESC.
    Escape,
    /// ESC O, before the letter of a key in application mode.
    Application,
    /// ESC [ and what is between it and its last byte.
    Sequence(Vec<u8>),
    /// The beginning of a message from the terminal, which any control ends.
    Message,
}

impl Keys {
    /// Takes in a byte, which may make a key whole.
    pub(super) fn take(&mut self, byte: u8) -> Option<Key> {
        match mem::replace(self, Keys::Plain) {
            Keys::Return if byte == b'\n' => None,
            Keys::Character { mut bytes, len } if byte & 0xc0 == 0x80 => {
                bytes[len] = byte;
                self.character(bytes, len + 1)
            }
            Keys::Plain | Keys::Return | Keys::Character { .. } => self.begin(byte),
            // Ctrl-C and Enter work even within a sequence that never ends.
            _ if byte < 0x20 => self.begin(byte),
            Keys::Escape => {
                *self = match byte {
                    b'[' => Keys::Sequence(Vec::new()),
                    b'O' => Keys::Application,
                    b']' | b'P' | b'X' | b'^' | b'_' => Keys::Message,
                    0x20..=0x2f => Keys::Escape,
                    _ => Keys::Plain,
                };
                None
            }
            Keys::Application => sequence(b"", byte),
            Keys::Sequence(mut held) => match byte {
                // The Linux console sends ESC [ [ A for F1.
                b'[' if !held.is_empty() => None,
                0x20..=0x3f | b'[' => {
                    if held.len() < SEQUENCE_MAX {
                        held.push(byte);
                    }
                    *self = Keys::Sequence(held);
                    None
                }
                _ => sequence(&held, byte),
            },
            Keys::Message => {
                *self = Keys::Message;
                None
            }
        }
    }

    /// Takes in the first byte of a key.
    fn begin(&mut self, byte: u8) -> Option<Key> {
        Some(match byte {
            0x01 => Key::Home,
            0x03 => Key::Interrupt,
            0x04 => Key::DeleteOrEnd,
            0x05 => Key::End,
            0x08 | 0x7f => Key::Backspace,
            b'\t' => Key::Tab,
            b'\n' => Key::Enter,
            0x0b => Key::CutBehind,
            0x0c => Key::Clear,
            b'\r' => {
                *self = Keys::Return;
                Key::Enter
            }
            0x15 => Key::CutBefore,
            0x17 => Key::CutWord,
            0x1b => {
                *self = Keys::Escape;
                return None;
            }
            0x20.. => return self.character([byte, 0, 0, 0], 1),
            _ => return None,
        })
    }

    /// Makes a character of these bytes, or waits for more of it.
    fn character(&mut self, bytes: [u8; 4], len: usize) -> Option<Key> {
        match std::str::from_utf8(&bytes[..len]) {
            Ok(text) => text.chars().next().filter(|c| !c.is_control()).map(Key::Text),
            Err(error) => {
                if error.error_len().is_none() {
                    *self = Keys::Character { bytes, len };
                }
                None
            }
        }
    }
}

/// The key of an escape sequence. A number behind a `;` tells of Shift and the
/// like, which change nothing here.
fn sequence(held: &[u8], last: u8) -> Option<Key> {
    let number = held.split(|byte| *byte == b';').next().unwrap_or_default();
    Some(match (number, last) {
        (b"" | b"1", b'A') => Key::Up,
        (b"" | b"1", b'B') => Key::Down,
        (b"" | b"1", b'C') => Key::Right,
        (b"" | b"1", b'D') => Key::Left,
        (b"" | b"1", b'H') | (b"1" | b"7", b'~') => Key::Home,
        (b"" | b"1", b'F') | (b"4" | b"8", b'~') => Key::End,
        (b"3", b'~') => Key::Delete,
        _ => return None,
    })
}
