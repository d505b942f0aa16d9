//! String arena: millions of short texts without an allocation for each. A chunk holds texts of nearly the same length in slots of one size,
//! which are used again. A text is known by a number of four bytes, and never moves. A chunk without texts is given back.

/// Bytes that places are counted in.
const UNIT: usize = 8;
/// Units of a chunk: 16 KiB, so that a few texts of each length don't take megabytes, and sixteen of the longest still fit in.
const CHUNK: usize = 2_048;
/// What stands before a text: its length.
const HEAD: usize = 2;
/// No place.
const NONE: u16 = u16::MAX;

/// Many texts.
pub struct StringArena {
    chunks: Vec<ArenaChunk>,
    /// By the units of a place, the chunks that have room for more; some of those that are named have none by now.
    roomy: Vec<Vec<u32>>,
    /// Chunks that were given back.
    empty: Vec<u32>,
    /// Chunks that hold something.
    used: usize,
}

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringId(u32);

impl StringId {
    /// As a number.
    pub(super) fn number(self) -> u32 {
        self.0
    }

    /// The one with this number.
    pub(super) fn of(number: u32) -> StringId {
        StringId(number)
    }
}

struct ArenaChunk {
    bytes: Box<[u8]>,
    /// Units of each of its places.
    units: u16,
    /// The last place that became free, in units; it names the one before.
    free: u16,
    /// Units that were ever used.
    end: u16,
    /// Texts that are here.
    texts: u16,
    /// It is named among those with room.
    is_listed: bool,
}

impl ArenaChunk {
    fn has_room(&self) -> bool {
        self.free != NONE || usize::from(self.end) + usize::from(self.units) <= CHUNK
    }
}

impl StringArena {
    /// None yet.
    pub fn new() -> StringArena {
        StringArena { chunks: Vec::new(), roomy: Vec::new(), empty: Vec::new(), used: 0 }
    }

    /// Keeps a text of at most some thousand bytes; what is longer is cut, which nothing that has passed the limits of a name is.
    pub fn insert(&mut self, text: &str) -> StringId {
        let most = (CHUNK / 2) * UNIT - HEAD;
        self.insert_bytes(text.get(..text.len().min(most)).unwrap_or_default().as_bytes())
    }

    /// Keeps bytes that are no text, and as few.
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
        let length = u16::try_from(text.len()).unwrap_or(0);
        chunk.bytes[start..start + HEAD].copy_from_slice(&length.to_le_bytes());
        chunk.bytes[start + HEAD..start + HEAD + text.len()].copy_from_slice(text);
        StringId(u32::try_from(at * CHUNK + usize::from(place)).unwrap_or(u32::MAX))
    }

    /// The bytes of a text.
    pub fn bytes(&self, id: StringId) -> &[u8] {
        let (at, start) = place(id);
        let Some(chunk) = self.chunks.get(at) else { return &[] };
        let Some(head) = chunk.bytes.get(start..start + HEAD) else { return &[] };
        let length = usize::from(u16::from_le_bytes([head[0], head[1]]));
        chunk.bytes.get(start + HEAD..start + HEAD + length).unwrap_or_default()
    }

    /// A text.
    pub fn get(&self, id: StringId) -> &str {
        std::str::from_utf8(self.bytes(id)).unwrap_or_default()
    }

    /// Drops a text; its number may become another's.
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
            // One that is still named somewhere is taken off that list first.
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

    /// How much memory they take.
    pub fn memory(&self) -> usize {
        let lists: usize =
            self.roomy.iter().map(Vec::capacity).sum::<usize>() + self.empty.capacity();
        self.used * CHUNK * UNIT
            + self.chunks.capacity() * size_of::<ArenaChunk>()
            + lists * size_of::<u32>()
            + self.roomy.capacity() * size_of::<Vec<u32>>()
    }

    /// A chunk with room for a text of so many units.
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

/// The chunk of a text, and where in it.
fn place(id: StringId) -> (usize, usize) {
    let unit = id.0 as usize;
    (unit / CHUNK, unit % CHUNK * UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn texts_are_kept_whatever_comes_and_goes() {
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
    fn places_are_used_again_before_memory_grows() {
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
