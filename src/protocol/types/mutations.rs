//! Seeded mutations of a valid text, for tests of the parsers of secrets.

/// An endless series of texts near `text`, the same for the same seed. A few are equal to `text`.
pub(super) struct Mutations {
    text: Vec<char>,
    state: u64,
}

/// Characters with a meaning in one of the texts, next to it in ASCII, or of several bytes.
const CHARS: &[char] = &[
    'A',
    'B',
    'Z',
    'a',
    'b',
    'z',
    '0',
    '1',
    '9',
    '-',
    '_',
    '+',
    '/',
    '=',
    '.',
    ',',
    ':',
    '#',
    '"',
    '{',
    '}',
    '[',
    ']',
    '\\',
    ' ',
    '\n',
    '\0',
    '\u{7f}',
    '\u{e1}',
    '\u{17f}',
    '\u{1f600}',
];

impl Mutations {
    pub(super) fn new(text: &str, seed: u64) -> Mutations {
        Mutations { text: text.chars().collect(), state: seed | 1 }
    }

    /// A number below `count`, which must not be 0.
    fn below(&mut self, count: usize) -> usize {
        // xorshift64*: any seed but 0 has a period of 2^64 - 1.
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let drawn = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap_or(0) % count
    }

    fn change(&mut self, chars: &mut Vec<char>) {
        let at = self.below(chars.len() + 1);
        let any = CHARS[self.below(CHARS.len())];
        match self.below(8) {
            0 => chars.insert(at, any),
            1 => chars.truncate(at),
            2 => {
                let to = self.below(chars.len() + 1);
                chars.drain(at.min(to)..at.max(to));
            }
            3 => {
                // Repeat a part.
                let to = self.below(chars.len() + 1);
                let part = chars[at.min(to)..at.max(to)].to_vec();
                chars.splice(at..at, part);
            }
            4 if chars.len() > 1 => {
                let other = self.below(chars.len());
                let last = chars.len() - 1;
                chars.swap(at.min(last), other);
            }
            // A single bit of an ASCII character.
            5 | 6 => {
                let bit = self.below(7);
                if let Some(char) = chars.get_mut(at).filter(|char| char.is_ascii()) {
                    *char = char::from(*char as u8 ^ 1 << bit);
                }
            }
            _ => {
                if let Some(char) = chars.get_mut(at) {
                    *char = any;
                }
            }
        }
    }
}

impl Iterator for Mutations {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut chars = self.text.clone();
        for _ in 0..=self.below(3) {
            self.change(&mut chars);
        }
        Some(chars.into_iter().collect())
    }
}
