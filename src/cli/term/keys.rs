//! Decodes terminal bytes into keys: UTF-8 and escape sequences, which may arrive in fragments.

use std::mem;

/// Longest stored part of an escape sequence, far more than any known key has.
const SEQUENCE_MAX: usize = 32;

/// The action of a key.
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
    /// Ctrl-D, which ends the input on an empty line.
    DeleteOrEnd,
    CutBefore,
    CutBehind,
    CutWord,
    Clear,
    Tab,
    Enter,
    Interrupt,
}

/// The received part of a key.
#[derive(Debug)]
pub(super) enum KeyDecoder {
    /// Nothing: the next byte begins a key.
    Plain,
    /// A carriage return; a line feed right behind belongs to it.
    Return,
    /// The first bytes of a character.
    Character { bytes: [u8; 4], len: usize },
    /// ESC.
    Escape,
    /// ESC O, before the letter of a key in application mode.
    Application,
    /// ESC [ and the bytes before its last byte.
    Sequence(Vec<u8>),
    /// The beginning of a message of the terminal, which any control character ends.
    Message,
}

impl KeyDecoder {
    /// Processes a byte, which may complete a key.
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
            // Ctrl-C and Enter work even within an endless sequence.
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

    /// Processes the first byte of a key.
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

    /// A character of these bytes; `None` while bytes are missing.
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

/// The key of an escape sequence. A number behind `;` encodes Shift and the like, which are
/// ignored.
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
