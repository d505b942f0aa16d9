//! Read facts from the headers of MP4 and Matroska files.
//!
//! [`MediaReader`] names ranges, and gets their bytes: no disk, no clock. Each range is a short one,
//! and their number is bounded, so that a hostile file costs no more than any other.
//!
//! ```text
//!   next_step -> Read(at, length) -> feed(bytes) -> next_step -> ... -> Done(facts)
//! ```
//!
//! Both formats are trees. A walk goes from element to element: into those that matter, over all
//! others by their length. It always goes forward, except for two jumps in Matroska.

mod matroska;
mod mp4;

use crate::protocol::types::media_facts::{MediaCodec, MediaFacts, Resolution};
use crate::storage::media::matroska::MatroskaWalk;
use crate::storage::media::mp4::Mp4Walk;

/// Bytes of a range: a page of memory, more than any element that matters.
pub const WINDOW_BYTES: usize = 4 << 10;
/// Ranges of a file: the headers of sixteen tracks, whose tables are skipped.
pub const MOST_READS: u32 = 160;
/// Tracks that are looked at: a film has a picture, some sounds, and many subtitles behind.
const MOST_TRACKS: usize = 32;
/// Extensions of files with such headers.
const EXTENSIONS: [&str; 9] = ["3gp", "m4a", "m4v", "mka", "mkv", "mov", "mp4", "qt", "webm"];

/// True for the lower-case extension of a format that can be read.
#[must_use]
pub fn has_facts(extension: &str) -> bool {
    EXTENSIONS.contains(&extension)
}

/// What the reader needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaStep {
    /// The bytes of this range; fewer at the end of the file.
    Read {
        /// Offset.
        at: u64,
        /// Length.
        length: usize,
    },
    /// The facts; `None` where nothing is known.
    Done(Option<MediaFacts>),
}

/// A reader of one file.
#[derive(Debug)]
pub struct MediaReader {
    size: u64,
    at: u64,
    reads: u32,
    walk: FormatWalk,
    is_over: bool,
}

#[derive(Debug)]
enum FormatWalk {
    /// The first bytes tell the format.
    Unknown,
    Mp4(Mp4Walk),
    Matroska(Box<MatroskaWalk>),
}

/// The result of a look at an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ElementStep {
    /// The next element is here, further on.
    Next(u64),
    /// Go on here, at any place.
    Jump(u64),
    /// The element needs more bytes.
    More,
    /// Nothing further matters, or the file is broken.
    End,
}

/// The purpose of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TrackKind {
    Video,
    Audio,
    Other,
}

/// A track as far as read.
#[derive(Clone, Copy, Debug, Default)]
struct TrackDraft {
    kind: Option<TrackKind>,
    codec: Option<MediaCodec>,
    width: u16,
    height: u16,
}

impl MediaReader {
    /// A reader of a file of this size.
    #[must_use]
    pub fn new(size: u64) -> MediaReader {
        MediaReader { size, at: 0, reads: 0, walk: FormatWalk::Unknown, is_over: false }
    }

    /// What the reader needs now.
    #[must_use]
    pub fn next_step(&self) -> MediaStep {
        if self.is_over || self.reads >= MOST_READS || self.at >= self.size {
            return MediaStep::Done(self.facts());
        }
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        MediaStep::Read { at: self.at, length: left.min(WINDOW_BYTES) }
    }

    /// Take the bytes of the range.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.reads += 1;
        if matches!(self.walk, FormatWalk::Unknown) {
            match format(bytes) {
                Some(walk) => self.walk = walk,
                None => self.is_over = true,
            }
        }
        let mut rest = bytes;
        while !self.is_over {
            let step = match &mut self.walk {
                FormatWalk::Unknown => ElementStep::End,
                FormatWalk::Mp4(walk) => walk.element(self.at, rest, self.size),
                FormatWalk::Matroska(walk) => walk.element(self.at, rest, self.size),
            };
            match step {
                ElementStep::Next(at) if at > self.at => {
                    let skipped = usize::try_from(at - self.at).unwrap_or(usize::MAX);
                    self.at = at;
                    match rest.get(skipped..) {
                        Some(next) if !next.is_empty() => rest = next,
                        _ => return,
                    }
                }
                ElementStep::Jump(at) => {
                    self.at = at;
                    return;
                }
                // An element that a whole range can't hold.
                ElementStep::More if rest.len() < bytes.len() => return,
                ElementStep::Next(_) | ElementStep::More | ElementStep::End => self.is_over = true,
            }
        }
    }

    fn facts(&self) -> Option<MediaFacts> {
        let (tracks, duration) = match &self.walk {
            FormatWalk::Unknown => return None,
            FormatWalk::Mp4(walk) => (walk.tracks(), walk.duration_ms()),
            FormatWalk::Matroska(walk) => (walk.tracks(), walk.duration_ms()),
        };
        let first = |kind| tracks.iter().find(|track| track.kind == Some(kind));
        let (video, audio) = (first(TrackKind::Video), first(TrackKind::Audio));
        let mut facts = MediaFacts::default();
        facts.resolution = video.and_then(|track| Resolution::new(track.width, track.height));
        facts.video = video.and_then(|track| track.codec);
        facts.audio = audio.and_then(|track| track.codec);
        facts.set_duration_ms(duration);
        (!facts.is_empty()).then_some(facts)
    }
}

/// The format of the first bytes.
fn format(bytes: &[u8]) -> Option<FormatWalk> {
    if bytes.starts_with(&matroska::MAGIC) {
        return Some(FormatWalk::Matroska(Box::default()));
    }
    mp4::is_first_box(bytes).then(|| FormatWalk::Mp4(Mp4Walk::default()))
}

/// A big-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All facts of these bytes, and the number of ranges.
    fn facts_of(bytes: &[u8]) -> (Option<MediaFacts>, u32) {
        let mut reader = MediaReader::new(bytes.len() as u64);
        loop {
            match reader.next_step() {
                MediaStep::Done(facts) => return (facts, reader.reads),
                MediaStep::Read { at, length } => {
                    assert!(length <= WINDOW_BYTES && reader.reads < MOST_READS);
                    let from = usize::try_from(at).unwrap();
                    reader.feed(&bytes[from..from + length]);
                }
            }
        }
    }

    fn facts(ms: u64, width: u16, height: u16, video: &str, audio: &str) -> Option<MediaFacts> {
        let mut facts = MediaFacts::default();
        facts.resolution = Resolution::new(width, height);
        facts.video = MediaCodec::parse(video);
        facts.audio = MediaCodec::parse(audio);
        facts.set_duration_ms(Some(ms));
        Some(facts)
    }

    fn boxed(kind: &[u8; 4], body: &[&[u8]]) -> Vec<u8> {
        let body = body.concat();
        let length = u32::try_from(8 + body.len()).unwrap();
        [&length.to_be_bytes()[..], kind, &body].concat()
    }

    /// The same with a length of 64 bits.
    fn long_boxed(kind: &[u8; 4], body: &[&[u8]]) -> Vec<u8> {
        let body = body.concat();
        let length = 16 + body.len() as u64;
        [&1_u32.to_be_bytes()[..], kind, &length.to_be_bytes(), &body].concat()
    }

    /// `mvhd` with this timescale and duration.
    fn mvhd(is_long: bool, timescale: u32, duration: u32) -> Vec<u8> {
        let (scale, units) = (timescale.to_be_bytes(), duration.to_be_bytes());
        if is_long {
            return boxed(b"mvhd", &[&[1, 0, 0, 0], &[0; 16], &scale, &[0; 4], &units, &[0; 80]]);
        }
        boxed(b"mvhd", &[&[0; 4], &[0; 8], &scale, &units, &[0; 80]])
    }

    fn trak(handler: &[u8; 4], codec: &[u8; 4], size: (u16, u16), is_turned: bool) -> Vec<u8> {
        let one = [0, 1, 0, 0];
        let (a, b): (&[u8], &[u8]) = if is_turned { (&[0; 4], &one) } else { (&one, &[0; 4]) };
        let (width, height) = (size.0.to_be_bytes(), size.1.to_be_bytes());
        let tkhd = boxed(
            b"tkhd",
            &[&[0; 40], a, b, &[0; 4], b, a, &[0; 16], &width, &[0; 2], &height, &[0; 2]],
        );
        let hdlr = boxed(b"hdlr", &[&[0; 8], handler, &[0; 13]]);
        let table = boxed(b"stsz", &[&[7; 20_000]]);
        let stsd = boxed(b"stsd", &[&[0; 7], &[1, 0, 0, 0, 86], codec, &[0; 78]]);
        let stbl = boxed(b"stbl", &[&table, &stsd]);
        let mdia = boxed(b"mdia", &[&hdlr, &boxed(b"minf", &[&stbl])]);
        boxed(b"trak", &[&tkhd, &mdia])
    }

    #[test]
    fn mp4_has_facts_at_the_begin_and_at_the_end() {
        let ftyp = boxed(b"ftyp", &[b"isom"]);
        let mdat = boxed(b"mdat", &[&[9; 300_000]]);
        let video = trak(b"vide", b"avc1", (1920, 1080), false);
        let audio = trak(b"soun", b"mp4a", (0, 0), false);
        let moov = |is_long| boxed(b"moov", &[&mvhd(is_long, 1_000, 90_500), &audio, &video]);
        let wanted = facts(90_500, 1920, 1080, "H.264", "AAC");
        for is_long in [false, true] {
            for order in [[&ftyp, &moov(is_long), &mdat], [&ftyp, &mdat, &moov(is_long)]] {
                let (found, reads) = facts_of(&order.map(Vec::as_slice).concat());
                assert_eq!(found, wanted);
                assert!(reads < 12, "{reads} ranges");
            }
        }
        let long = [
            ftyp,
            long_boxed(b"mdat", &[&[9; 10_000]]),
            long_boxed(b"moov", &[&mvhd(true, 10, 10), &video]),
        ];
        assert_eq!(facts_of(&long.concat()).0, facts(1_000, 1920, 1080, "H.264", ""));
    }

    #[test]
    fn a_turned_picture_is_as_shown_and_fragments_tell_their_duration() {
        let turned = trak(b"vide", b"hvc1", (1920, 1080), true);
        let mehd = boxed(b"mvex", &[&boxed(b"mehd", &[&[0; 4], &5_000_u32.to_be_bytes()])]);
        let file =
            [boxed(b"ftyp", &[b"iso5"]), boxed(b"moov", &[&mvhd(false, 1_000, 0), &turned, &mehd])];
        assert_eq!(facts_of(&file.concat()).0, facts(5_000, 1080, 1920, "H.265", ""));
    }

    fn element(id: u32, body: &[&[u8]]) -> Vec<u8> {
        let body = body.concat();
        let id = id.to_be_bytes();
        let id = &id[id.iter().position(|byte| *byte != 0).unwrap_or(0)..];
        let length = 1 << 56 | body.len() as u64;
        [id, &length.to_be_bytes(), &body].concat()
    }

    fn track(kind: u8, codec: &str, size: Option<(u16, u16)>) -> Vec<u8> {
        let video = size.map_or(Vec::new(), |(width, height)| {
            let width = element(0xb0, &[&width.to_be_bytes()]);
            element(0xe0, &[&width, &element(0xba, &[&height.to_be_bytes()])])
        });
        let private = element(0x63a2, &[&[5; 6_000]]);
        let codec = element(0x86, &[codec.as_bytes()]);
        element(0xae, &[&element(0x83, &[&[kind]]), &private, &codec, &video])
    }

    #[test]
    fn matroska_has_facts_before_and_behind_the_media() {
        let head = element(0x1a45_dfa3, &[&[0; 20]]);
        let duration = element(0x4489, &[&12_345.0_f64.to_be_bytes()]);
        let info = element(0x1549_a966, &[&element(0x2a_d7b1, &[&[0x0f, 0x42, 0x40]]), &duration]);
        let video = track(1, "V_MPEGH/ISO/HEVC", Some((3840, 2160)));
        let audio = track(2, "A_OPUS", None);
        let tracks = element(0x1654_ae6b, &[&audio, &video]);
        let cluster = element(0x1f43_b675, &[&[3; 50_000]]);
        let wanted = facts(12_345, 3840, 2160, "H.265", "Opus");
        let plain = element(0x1853_8067, &[&info, &tracks, &cluster]);
        assert_eq!(facts_of(&[&head[..], &plain].concat()).0, wanted);
        // An index leads to parts behind the media.
        let seek = |id: u32, at: usize| {
            let place = u32::try_from(at).unwrap().to_be_bytes();
            element(0x4dbb, &[&element(0x53ab, &[&id.to_be_bytes()]), &element(0x53ac, &[&place])])
        };
        let length = element(0x114d_9b74, &[&seek(0x1549_a966, 0), &seek(0x1654_ae6b, 0)]).len();
        let at = length + cluster.len();
        let index =
            element(0x114d_9b74, &[&seek(0x1549_a966, at), &seek(0x1654_ae6b, at + info.len())]);
        let behind = element(0x1853_8067, &[&index, &cluster, &info, &tracks]);
        assert_eq!(facts_of(&[&head[..], &behind].concat()).0, wanted);
        // An index that leads back to the media is followed once.
        let circle = element(0x114d_9b74, &[&seek(0x1549_a966, 0), &seek(0x1654_ae6b, 0)]);
        let (found, reads) =
            facts_of(&[&head[..], &element(0x1853_8067, &[&circle, &cluster])].concat());
        assert!(found.is_none() && reads < 8, "{reads}");
    }

    #[test]
    fn broken_headers_cost_a_bounded_number_of_ranges() {
        // Boxes of eight bytes, empty tracks, a length of zero, and lengths that overflow.
        let empty = boxed(b"free", &[]).repeat(400_000);
        assert!(facts_of(&empty).1 <= MOST_READS);
        let tracks =
            boxed(b"moov", &[&boxed(b"trak", &[&boxed(b"stbl", &[&[0; 9_000]])]).repeat(400)]);
        assert!(facts_of(&[boxed(b"ftyp", &[]), tracks].concat()).1 <= MOST_READS);
        for bytes in [
            [&boxed(b"ftyp", &[])[..], &[0, 0, 0, 1], b"moov", &[0xff; 8]].concat(),
            [&boxed(b"ftyp", &[])[..], &[0, 0, 0, 4], b"moov"].concat(),
            [&matroska::MAGIC[..], &[0x01], &[0xff; 7], &[0xff; 9]].concat(),
            [&matroska::MAGIC[..], &[0x00; 40]].concat(),
            b"RIFF\0\0\0\0WAVE".to_vec(),
            Vec::new(),
        ] {
            let (found, reads) = facts_of(&bytes);
            assert!(found.is_none() && reads <= 2, "{bytes:?}");
        }
    }

    /// Changed headers of whole files: every range lies inside the file, and their number is bounded.
    #[test]
    fn changed_headers_end_the_walk() {
        let video = trak(b"vide", b"avc1", (640, 360), false);
        let mp4 = [
            boxed(b"ftyp", &[b"isom"]),
            boxed(b"moov", &[&mvhd(true, 1_000, 9_000), &video]),
            boxed(b"mdat", &[&[1; 9_000]]),
        ];
        let info = element(0x1549_a966, &[&element(0x4489, &[&9.0_f32.to_be_bytes()])]);
        let tracks = element(0x1654_ae6b, &[&track(1, "V_VP9", Some((640, 360)))]);
        let segment =
            element(0x1853_8067, &[&info, &tracks, &element(0x1f43_b675, &[&[1; 9_000]])]);
        let matroska = [element(0x1a45_dfa3, &[&[0; 20]]), segment];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |count: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap() % count
        };
        for valid in [mp4.concat(), matroska.concat()] {
            for _ in 0..20_000 {
                let mut bytes = valid.clone();
                for _ in 0..=below(6) {
                    let near = if below(2) == 0 { 400 } else { usize::MAX };
                    let at = below(bytes.len().min(near));
                    match below(4) {
                        0 => bytes[at] ^= 1 << below(8),
                        1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][below(5)],
                        2 => bytes.truncate(at.max(1)),
                        _ => {
                            let end = (at + 1 + below(8)).min(bytes.len());
                            bytes[at..end].fill(0xff);
                        }
                    }
                }
                assert!(facts_of(&bytes).1 <= MOST_READS);
            }
        }
    }
}
