//! Decode terminal bytes into keys: UTF-8 and escape sequences, which may arrive in fragments.

use std::mem;

/// How much of an escape sequence is kept, far more than any known key has.
const SEQUENCE_MAX: usize = 32;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TermKey {
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
pub(super) enum KeyDecoder {
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

impl KeyDecoder {
    /// Takes in a byte, which may make a key whole.
    pub(super) fn take(&mut self, byte: u8) -> Option<TermKey> {
        match mem::replace(self, KeyDecoder::Plain) {
            KeyDecoder::Return if byte == b'\n' => None,
            KeyDecoder::Character { mut bytes, len } if byte & 0xc0 == 0x80 => {
                bytes[len] = byte;
                self.character(bytes, len + 1)
            }
            KeyDecoder::Plain | KeyDecoder::Return | KeyDecoder::Character { .. } => {
                self.begin(byte)
            }
            // Ctrl-C and Enter work even within a sequence that never ends.
            _ if byte < 0x20 => self.begin(byte),
            KeyDecoder::Escape => {
                *self = match byte {
                    b'[' => KeyDecoder::Sequence(Vec::new()),
                    b'O' => KeyDecoder::Application,
                    b']' | b'P' | b'X' | b'^' | b'_' => KeyDecoder::Message,
                    0x20..=0x2f => KeyDecoder::Escape,
                    _ => KeyDecoder::Plain,
                };
                None
            }
            KeyDecoder::Application => sequence(b"", byte),
            KeyDecoder::Sequence(mut held) => match byte {
                // The Linux console sends ESC [ [ A for F1.
                b'[' if !held.is_empty() => None,
                0x20..=0x3f | b'[' => {
                    if held.len() < SEQUENCE_MAX {
                        held.push(byte);
                    }
                    *self = KeyDecoder::Sequence(held);
                    None
                }
                _ => sequence(&held, byte),
            },
            KeyDecoder::Message => {
                *self = KeyDecoder::Message;
                None
            }
        }
    }

    /// Takes in the first byte of a key.
    fn begin(&mut self, byte: u8) -> Option<TermKey> {
        Some(match byte {
            0x01 => TermKey::Home,
            0x03 => TermKey::Interrupt,
            0x04 => TermKey::DeleteOrEnd,
            0x05 => TermKey::End,
            0x08 | 0x7f => TermKey::Backspace,
            b'\t' => TermKey::Tab,
            b'\n' => TermKey::Enter,
            0x0b => TermKey::CutBehind,
            0x0c => TermKey::Clear,
            b'\r' => {
                *self = KeyDecoder::Return;
                TermKey::Enter
            }
            0x15 => TermKey::CutBefore,
            0x17 => TermKey::CutWord,
            0x1b => {
                *self = KeyDecoder::Escape;
                return None;
            }
            0x20.. => return self.character([byte, 0, 0, 0], 1),
            _ => return None,
        })
    }

    /// Makes a character of these bytes, or waits for more of it.
    fn character(&mut self, bytes: [u8; 4], len: usize) -> Option<TermKey> {
        match std::str::from_utf8(&bytes[..len]) {
            Ok(text) => text.chars().next().filter(|c| !c.is_control()).map(TermKey::Text),
            Err(error) => {
                if error.error_len().is_none() {
                    *self = KeyDecoder::Character { bytes, len };
                }
                None
            }
        }
    }
}

/// The key of an escape sequence. A number behind a `;` tells of Shift and the
/// like, which change nothing here.
fn sequence(held: &[u8], last: u8) -> Option<TermKey> {
    let number = held.split(|byte| *byte == b';').next().unwrap_or_default();
    Some(match (number, last) {
        (b"" | b"1", b'A') => TermKey::Up,
        (b"" | b"1", b'B') => TermKey::Down,
        (b"" | b"1", b'C') => TermKey::Right,
        (b"" | b"1", b'D') => TermKey::Left,
        (b"" | b"1", b'H') | (b"1" | b"7", b'~') => TermKey::Home,
        (b"" | b"1", b'F') | (b"4" | b"8", b'~') => TermKey::End,
        (b"3", b'~') => TermKey::Delete,
        _ => return None,
    })
}
