//! Boxes of MP4 and QuickTime (ISO/IEC 14496-12): `moov` at the begin or the end, also of
//! fragmented files.

use crate::protocol::types::media_facts::MediaCodec;
use crate::storage::media::{ElementStep, MOST_TRACKS, TrackDraft, TrackKind, number};

/// The kinds of a first box.
const FIRST: [&[u8; 4]; 9] =
    [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"uuid"];
/// Bytes of a box that are looked at, behind its header: version 1 of `tkhd`.
const LOOKED_AT: usize = 96;

/// A walk over boxes.
#[derive(Debug, Default)]
pub(super) struct Mp4Walk {
    /// The end of `moov`, where the walk ends.
    moov_end: Option<u64>,
    /// Units a second of the durations below.
    timescale: u64,
    duration: u64,
    /// The duration of a fragmented file.
    fragments_duration: u64,
    tracks: Vec<TrackDraft>,
}

/// True if the bytes begin with a box.
pub(super) fn is_first_box(bytes: &[u8]) -> bool {
    bytes.get(4..8).is_some_and(|kind| FIRST.iter().any(|known| *known == kind))
}

impl Mp4Walk {
    pub(super) fn tracks(&self) -> &[TrackDraft] {
        &self.tracks
    }

    pub(super) fn duration_ms(&self) -> Option<u64> {
        let units = if self.duration > 0 { self.duration } else { self.fragments_duration };
        let ms = u128::from(units) * 1_000;
        u64::try_from(ms.checked_div(u128::from(self.timescale))?).ok()
    }

    /// Looks at the box at this offset.
    pub(super) fn element(&mut self, at: u64, bytes: &[u8], size: u64) -> ElementStep {
        if self.moov_end.is_some_and(|end| at >= end) {
            return ElementStep::End;
        }
        let Some((header, kind, length)) = header(bytes, size.saturating_sub(at)) else {
            return ElementStep::More;
        };
        let Some(end) = at.checked_add(length).filter(|_| length >= header) else {
            return ElementStep::End;
        };
        let is_inside = self.moov_end.is_some();
        match &kind {
            b"moov" => self.moov_end = Some(end),
            b"mdia" | b"minf" | b"stbl" | b"mvex" if is_inside => {}
            b"trak" if is_inside => {
                if self.tracks.len() >= MOST_TRACKS {
                    return ElementStep::End;
                }
                self.tracks.push(TrackDraft::default());
            }
            b"mvhd" | b"mehd" | b"tkhd" | b"hdlr" | b"stsd" if is_inside => {
                let body_length = usize::try_from(length - header).unwrap_or(usize::MAX);
                let (from, needed) = (header as usize, body_length.min(LOOKED_AT));
                let Some(body) = bytes.get(from..from + needed) else { return ElementStep::More };
                let _ = self.body(&kind, body);
                return ElementStep::Next(end);
            }
            _ => return ElementStep::Next(end),
        }
        ElementStep::Next(at + header)
    }

    /// Reads the begin of a box; `None` where the box is too short.
    fn body(&mut self, kind: &[u8; 4], body: &[u8]) -> Option<()> {
        let is_long = *body.first()? == 1;
        let at = |short: usize, long: usize| if is_long { long } else { short };
        let width = at(4, 8);
        match kind {
            b"mvhd" => {
                self.timescale = number(body.get(at(12, 20)..)?.get(..4)?);
                self.duration = known(body.get(at(16, 24)..)?.get(..width)?);
            }
            b"mehd" => self.fragments_duration = known(body.get(4..)?.get(..width)?),
            b"tkhd" => {
                let track = self.tracks.last_mut()?;
                let pixels = |from: usize| u16::try_from(number(body.get(from..from + 2)?)).ok();
                let (width, height) = (pixels(at(76, 88))?, pixels(at(80, 92))?);
                // A phone that is held upright turns the picture by a matrix.
                let matrix = body.get(at(40, 52)..)?;
                let is_turned = number(matrix.get(..4)?) == 0 && number(matrix.get(16..20)?) == 0;
                (track.width, track.height) =
                    if is_turned { (height, width) } else { (width, height) };
            }
            b"hdlr" => {
                let track = self.tracks.last_mut()?;
                let kind = match body.get(8..12)? {
                    b"vide" => TrackKind::Video,
                    b"soun" => TrackKind::Audio,
                    _ => TrackKind::Other,
                };
                // QuickTime has a second box of this kind, for its data.
                track.kind.get_or_insert(kind);
            }
            _ => {
                let track = self.tracks.last_mut()?;
                track.codec = codec(body.get(12..16)?);
                if (track.width, track.height) == (0, 0) && track.kind == Some(TrackKind::Video) {
                    let pixels =
                        |from: usize| u16::try_from(number(body.get(from..from + 2)?)).ok();
                    (track.width, track.height) = (pixels(40)?, pixels(42)?);
                }
            }
        }
        Some(())
    }
}

/// The length of the header, the kind, and the length of a box.
fn header(bytes: &[u8], left: u64) -> Option<(u64, [u8; 4], u64)> {
    let kind = bytes.get(4..8)?.try_into().ok()?;
    Some(match number(bytes.get(..4)?) {
        // To the end of the file.
        0 => (8, kind, left.max(8)),
        1 => (16, kind, number(bytes.get(8..16)?)),
        length => (8, kind, length),
    })
}

/// A duration; all ones mean that it is unknown.
fn known(bytes: &[u8]) -> u64 {
    if bytes.iter().all(|byte| *byte == 0xff) { 0 } else { number(bytes) }
}

fn codec(kind: &[u8]) -> Option<MediaCodec> {
    MediaCodec::parse(match kind {
        b"avc1" | b"avc2" | b"avc3" | b"avc4" => "H.264",
        b"hvc1" | b"hev1" | b"dvh1" | b"dvhe" => "H.265",
        b"av01" => "AV1",
        b"vp08" => "VP8",
        b"vp09" => "VP9",
        b"mp4v" => "MPEG-4",
        b"h263" | b"s263" => "H.263",
        b"mjpa" | b"mjpb" | b"jpeg" => "Motion JPEG",
        b"apch" | b"apcn" | b"apcs" | b"apco" | b"ap4h" | b"ap4x" => "ProRes",
        b"mp4a" => "AAC",
        b".mp3" => "MP3",
        b"ac-3" => "AC-3",
        b"ec-3" => "E-AC-3",
        b"Opus" => "Opus",
        b"fLaC" => "FLAC",
        b"alac" => "ALAC",
        b"dtsc" | b"dtse" | b"dtsh" | b"dtsl" => "DTS",
        b"sowt" | b"twos" | b"lpcm" | b"ipcm" | b"fpcm" | b"in24" | b"raw " => "PCM",
        _ => return None,
    })
}
