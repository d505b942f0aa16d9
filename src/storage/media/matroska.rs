//! Elements of Matroska and WebM (RFC 9559, on EBML of RFC 8794).

use crate::protocol::types::media_facts::MediaCodec;
use crate::storage::media::{ElementStep, MOST_TRACKS, TrackDraft, TrackKind, number};

/// The id of the first element.
pub(super) const MAGIC: [u8; 4] = [0x1a, 0x45, 0xdf, 0xa3];

const SEGMENT: u64 = 0x1853_8067;
const SEEK_HEAD: u64 = 0x114d_9b74;
const SEEK: u64 = 0x4dbb;
const SEEK_ID: u64 = 0x53ab;
const SEEK_POSITION: u64 = 0x53ac;
const INFO: u64 = 0x1549_a966;
const TIMESTAMP_SCALE: u64 = 0x2a_d7b1;
const DURATION: u64 = 0x4489;
const TRACKS: u64 = 0x1654_ae6b;
const TRACK_ENTRY: u64 = 0xae;
const TRACK_TYPE: u64 = 0x83;
const CODEC_ID: u64 = 0x86;
const VIDEO: u64 = 0xe0;
const PIXEL_WIDTH: u64 = 0xb0;
const PIXEL_HEIGHT: u64 = 0xba;
const CLUSTER: u64 = 0x1f43_b675;

/// Jumps to parts behind the media: one for each part.
const JUMPS: u8 = 2;
/// Bytes of a value that is read: the name of a codec is the longest.
const LONGEST_VALUE: u64 = 64;
/// Nanoseconds of a unit of time, unless the file says otherwise.
const USUAL_SCALE: u64 = 1_000_000;
/// No file is longer in its own units.
const MOST_UNITS: f64 = 1e18;

/// A part of the file that matters.
#[derive(Debug, Default)]
struct SoughtPart {
    /// The end, once the walk has begun on this part.
    end: Option<u64>,
    /// The place that an index names.
    place: Option<u64>,
}

/// A walk over elements.
#[derive(Debug)]
pub(super) struct MatroskaWalk {
    /// The place that all others count from.
    segment: Option<u64>,
    /// The part of which the index tells next.
    sought: u64,
    info: SoughtPart,
    entries: SoughtPart,
    /// Jumps that are left.
    jumps: u8,
    scale: u64,
    duration: f64,
    tracks: Vec<TrackDraft>,
}

impl Default for MatroskaWalk {
    fn default() -> MatroskaWalk {
        MatroskaWalk {
            segment: None,
            sought: 0,
            info: SoughtPart::default(),
            entries: SoughtPart::default(),
            jumps: JUMPS,
            scale: USUAL_SCALE,
            duration: 0.0,
            tracks: Vec::new(),
        }
    }
}

impl MatroskaWalk {
    pub(super) fn tracks(&self) -> &[TrackDraft] {
        &self.tracks
    }

    pub(super) fn duration_ms(&self) -> Option<u64> {
        let ms = self.duration * self.scale as f64 / USUAL_SCALE as f64;
        // False too for a value that is no number.
        (1.0..MOST_UNITS).contains(&ms).then_some(ms.round() as u64)
    }

    /// Looks at the element at this offset.
    pub(super) fn element(&mut self, at: u64, bytes: &[u8], size: u64) -> ElementStep {
        if let (Some(info), Some(tracks)) = (self.info.end, self.entries.end)
            && at >= info
            && at >= tracks
        {
            return ElementStep::End;
        }
        let Some((id, id_length)) = variable(bytes, 4, false) else { return short(bytes) };
        let after = bytes.get(id_length..).unwrap_or_default();
        let Some((length, length_length)) = variable(after, 8, true) else { return short(after) };
        let header = id_length + length_length;
        let body_at = at + header as u64;
        let is_unknown = length == unknown(length_length);
        let end = if is_unknown { size } else { body_at.saturating_add(length) };
        match id {
            SEGMENT => self.segment = Some(body_at),
            SEEK_HEAD | SEEK | VIDEO => {}
            INFO => self.info.end = Some(end),
            TRACKS => self.entries.end = Some(end),
            TRACK_ENTRY => {
                if self.tracks.len() >= MOST_TRACKS {
                    return ElementStep::End;
                }
                self.tracks.push(TrackDraft::default());
            }
            CLUSTER => return self.behind_media(),
            TIMESTAMP_SCALE | DURATION | TRACK_TYPE | CODEC_ID | PIXEL_WIDTH | PIXEL_HEIGHT
            | SEEK_ID | SEEK_POSITION
                if length <= LONGEST_VALUE =>
            {
                // At most 64.
                let body = bytes.get(header..header + length as usize);
                let Some(body) = body else { return ElementStep::More };
                self.value(id, body);
                return ElementStep::Next(end);
            }
            _ if is_unknown => return ElementStep::End,
            _ => return ElementStep::Next(end),
        }
        ElementStep::Next(body_at)
    }

    /// The media begin. A part that was not met yet is behind, where the index says so.
    fn behind_media(&mut self) -> ElementStep {
        for part in [&mut self.info, &mut self.entries] {
            if part.end.is_none()
                && self.jumps > 0
                && let (Some(place), Some(segment)) = (part.place.take(), self.segment)
                && let Some(at) = segment.checked_add(place)
            {
                self.jumps -= 1;
                return ElementStep::Jump(at);
            }
        }
        ElementStep::End
    }

    fn value(&mut self, id: u64, body: &[u8]) {
        let track = self.tracks.last_mut();
        match (id, track) {
            (TIMESTAMP_SCALE, _) => self.scale = number(body),
            (DURATION, _) => {
                self.duration = match *body {
                    [a, b, c, d] => f64::from(f32::from_be_bytes([a, b, c, d])),
                    [a, b, c, d, e, f, g, h] => f64::from_be_bytes([a, b, c, d, e, f, g, h]),
                    _ => 0.0,
                }
            }
            (SEEK_ID, _) => self.sought = number(body),
            (SEEK_POSITION, _) => {
                let place = Some(number(body));
                match self.sought {
                    INFO => self.info.place = place,
                    TRACKS => self.entries.place = place,
                    _ => {}
                }
            }
            (TRACK_TYPE, Some(track)) => {
                track.kind = Some(match number(body) {
                    1 => TrackKind::Video,
                    2 => TrackKind::Audio,
                    _ => TrackKind::Other,
                });
            }
            (CODEC_ID, Some(track)) => track.codec = codec(body),
            (PIXEL_WIDTH, Some(track)) => track.width = pixels(body),
            (PIXEL_HEIGHT, Some(track)) => track.height = pixels(body),
            _ => {}
        }
    }
}

fn pixels(body: &[u8]) -> u16 {
    u16::try_from(number(body)).unwrap_or(0)
}

/// A number is cut by the end of the bytes, or is none.
fn short(bytes: &[u8]) -> ElementStep {
    if bytes.len() < 8 { ElementStep::More } else { ElementStep::End }
}

/// A number of variable length, and its length. `is_size`: without the bit that tells the length.
fn variable(bytes: &[u8], most: usize, is_size: bool) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    if length > most {
        return None;
    }
    let whole = number(bytes.get(..length)?);
    Some((if is_size { whole & unknown(length) } else { whole }, length))
}

/// The size of an element that does not know its size: all ones.
fn unknown(length: usize) -> u64 {
    (1 << (7 * length)) - 1
}

fn codec(id: &[u8]) -> Option<MediaCodec> {
    let id = std::str::from_utf8(id).ok()?.trim_end_matches('\0');
    let known = [
        ("V_MPEG4/ISO/AVC", "H.264"),
        ("V_MPEGH/ISO/HEVC", "H.265"),
        ("V_MPEG4/", "MPEG-4"),
        ("V_MPEG2", "MPEG-2"),
        ("V_MPEG1", "MPEG-1"),
        ("V_AV1", "AV1"),
        ("V_VP8", "VP8"),
        ("V_VP9", "VP9"),
        ("V_THEORA", "Theora"),
        ("V_PRORES", "ProRes"),
        ("V_MJPEG", "Motion JPEG"),
        ("A_AAC", "AAC"),
        ("A_AC3", "AC-3"),
        ("A_EAC3", "E-AC-3"),
        ("A_ALAC", "ALAC"),
        ("A_DTS", "DTS"),
        ("A_FLAC", "FLAC"),
        ("A_MPEG/L3", "MP3"),
        ("A_MPEG/L2", "MP2"),
        ("A_OPUS", "Opus"),
        ("A_PCM/", "PCM"),
        ("A_TRUEHD", "TrueHD"),
        ("A_VORBIS", "Vorbis"),
    ];
    known
        .iter()
        .find(|(begin, _)| id.starts_with(begin))
        .and_then(|(_, name)| MediaCodec::parse(name))
}
