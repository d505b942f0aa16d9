//! String arena: millions of short texts without an allocation for each. A chunk holds texts of
//! similar length in places of one size, which are reused. A text has a number of four bytes and
//! never moves. An empty chunk is freed.

/// Granularity of places, in bytes.
const UNIT: usize = 8;
/// Units of a chunk: 16 KiB. A few texts of each length take no megabytes, and sixteen of the
/// longest fit.
const CHUNK: usize = 2_048;
/// Bytes of the length before a text.
const HEAD: usize = 2;
const NONE: u16 = u16::MAX;

pub struct StringArena {
    chunks: Vec<ArenaChunk>,
    /// By the units of a place, chunks that may have room.
    roomy: Vec<Vec<u32>>,
    /// Freed chunks.
    empty: Vec<u32>,
    /// Number of chunks in use.
    used: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringId(u32);

impl StringId {
    pub(super) fn number(self) -> u32 {
        self.0
    }

    pub(super) fn of(number: u32) -> StringId {
        StringId(number)
    }
}

struct ArenaChunk {
    bytes: Box<[u8]>,
    /// Units of a place.
    units: u16,
    /// The place freed last, in units; it names the one freed before.
    free: u16,
    /// Units used at any time.
    end: u16,
    /// Number of texts.
    texts: u16,
    /// Listed in `roomy`.
    is_listed: bool,
}

impl ArenaChunk {
    fn has_room(&self) -> bool {
        self.free != NONE || usize::from(self.end) + usize::from(self.units) <= CHUNK
    }
}

impl StringArena {
    pub fn new() -> StringArena {
        StringArena { chunks: Vec::new(), roomy: Vec::new(), empty: Vec::new(), used: 0 }
    }

    /// Store a text. Cuts after some thousand bytes; valid names are shorter.
    pub fn insert(&mut self, text: &str) -> StringId {
        let most = (CHUNK / 2) * UNIT - HEAD;
        self.insert_bytes(text.get(..text.len().min(most)).unwrap_or_default().as_bytes())
    }

    /// Store bytes, with the same limit.
    pub fn insert_bytes(&mut self, text: &[u8]) -> StringId {
        let text = &text[..text.len().min((CHUNK / 2) * UNIT - HEAD)];
        let units = (HEAD + text.len()).div_ceil(UNIT);
        let at = self.chunk_for(units);
        let chunk = &mut self.chunks[at];
        let place = match chunk.free {
            NONE => {
                let place = chunk.end;
                chunk.end += chunk.units;
                place
            }
            place => {
                let start = usize::from(place) * UNIT;
                chunk.free = u16::from_le_bytes([chunk.bytes[start], chunk.bytes[start + 1]]);
                place
            }
        };
        chunk.texts += 1;
        let start = usize::from(place) * UNIT;
        debug_assert!(u16::try_from(text.len()).is_ok(), "half a chunk is shorter");
        let length = u16::try_from(text.len()).unwrap_or(0);
        chunk.bytes[start..start + HEAD].copy_from_slice(&length.to_le_bytes());
        chunk.bytes[start + HEAD..start + HEAD + text.len()].copy_from_slice(text);
        StringId(u32::try_from(at * CHUNK + usize::from(place)).unwrap_or(u32::MAX))
    }

    pub fn bytes(&self, id: StringId) -> &[u8] {
        let (at, start) = place(id);
        let Some(chunk) = self.chunks.get(at) else {
            debug_assert!(false, "a number names a stored text");
            return &[];
        };
        let Some(head) = chunk.bytes.get(start..start + HEAD) else { return &[] };
        let length = usize::from(u16::from_le_bytes([head[0], head[1]]));
        chunk.bytes.get(start + HEAD..start + HEAD + length).unwrap_or_default()
    }

    pub fn get(&self, id: StringId) -> &str {
        std::str::from_utf8(self.bytes(id)).unwrap_or_default()
    }

    /// Remove a text; the number may be reused.
    pub fn remove(&mut self, id: StringId) {
        let (at, start) = place(id);
        let Some(chunk) = self.chunks.get_mut(at).filter(|chunk| chunk.texts > 0) else { return };
        chunk.texts -= 1;
        if chunk.texts == 0 {
            let is_listed = chunk.is_listed;
            *chunk = ArenaChunk {
                bytes: Box::default(),
                units: 0,
                free: NONE,
                end: 0,
                texts: 0,
                is_listed,
            };
            self.used -= 1;
            // A listed chunk leaves `roomy` first.
            if !is_listed {
                self.empty.push(u32::try_from(at).unwrap_or(u32::MAX));
            }
            return;
        }
        chunk.bytes[start..start + HEAD].copy_from_slice(&chunk.free.to_le_bytes());
        chunk.free = u16::try_from(start / UNIT).unwrap_or(NONE);
        if !chunk.is_listed {
            chunk.is_listed = true;
            self.roomy[usize::from(chunk.units)].push(u32::try_from(at).unwrap_or(u32::MAX));
        }
    }

    pub fn memory(&self) -> usize {
        let lists: usize =
            self.roomy.iter().map(Vec::capacity).sum::<usize>() + self.empty.capacity();
        self.used * CHUNK * UNIT
            + self.chunks.capacity() * size_of::<ArenaChunk>()
            + lists * size_of::<u32>()
            + self.roomy.capacity() * size_of::<Vec<u32>>()
    }

    /// Find or allocate a chunk with a place of so many units.
    fn chunk_for(&mut self, units: usize) -> usize {
        if self.roomy.len() <= units {
            self.roomy.resize(units + 1, Vec::new());
        }
        while let Some(&at) = self.roomy[units].last() {
            let chunk = &mut self.chunks[at as usize];
            if usize::from(chunk.units) == units && chunk.has_room() {
                return at as usize;
            }
            chunk.is_listed = false;
            self.roomy[units].pop();
            if chunk.texts == 0 {
                self.empty.push(at);
            }
        }
        let bytes = vec![0; CHUNK * UNIT].into_boxed_slice();
        let new = ArenaChunk {
            bytes,
            units: u16::try_from(units).unwrap_or(NONE),
            free: NONE,
            end: 0,
            texts: 0,
            is_listed: true,
        };
        let at = match self.empty.pop() {
            Some(at) => {
                self.chunks[at as usize] = new;
                at
            }
            None => {
                self.chunks.push(new);
                u32::try_from(self.chunks.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.used += 1;
        self.roomy[units].push(at);
        at as usize
    }
}

/// Chunk of a text, and the offset there.
fn place(id: StringId) -> (usize, usize) {
    let unit = id.0 as usize;
    (unit / CHUNK, unit % CHUNK * UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn texts_stay_while_others_come_and_go() {
        let mut dice = 88_172_645_463_325_252_u64;
        let mut roll = |sides: u64| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            usize::try_from(dice % sides).unwrap()
        };
        let mut texts = StringArena::new();
        let mut plain: BTreeMap<usize, (StringId, String)> = BTreeMap::new();
        for step in 0..60_000 {
            let most = if step % 7 == 0 { 1_024 } else { 60 };
            if roll(5) > usize::from(step > 40_000) * 2 && plain.len() < 4_000 {
                let text = format!("{step}{}", "é".repeat(roll(most) / 2));
                plain.insert(step, (texts.insert(&text), text));
            } else if let Some(&key) = plain.keys().nth(roll(plain.len().max(1) as u64)) {
                let (id, text) = plain.remove(&key).unwrap();
                assert_eq!(texts.get(id), text);
                texts.remove(id);
            }
        }
        for (id, text) in plain.values() {
            assert_eq!(texts.get(*id), text);
        }
        let full = texts.memory();
        for (id, _) in plain.into_values() {
            texts.remove(id);
        }
        assert_eq!(texts.used, 0);
        assert!(texts.memory() < full / 2, "{} of {full}", texts.memory());
        let again = texts.insert("again");
        assert_eq!((texts.get(again), texts.used), ("again", 1));
    }

    #[test]
    fn places_are_reused_before_memory_grows() {
        let mut texts = StringArena::new();
        let ids: Vec<StringId> =
            (0..10_000).map(|number| texts.insert(&format!("name number {number:06}"))).collect();
        let used = texts.used;
        for round in 0..20 {
            for (number, id) in ids.iter().enumerate().filter(|(number, _)| number % 20 == round) {
                texts.remove(*id);
                let again = texts.insert(&format!("other one {number:08}"));
                assert_eq!(texts.get(again), format!("other one {number:08}"));
            }
        }
        assert_eq!(texts.used, used);
    }
}
