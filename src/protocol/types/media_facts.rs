//! Facts about a video or a sound. They describe a file, and no decision depends on them: the owner
//! of the file tells them.

/// The codecs that a file may name. Others stay unknown, so that no text of a file is shown.
const CODECS: [&str; 26] = [
    "AAC",
    "AC-3",
    "ALAC",
    "AV1",
    "DTS",
    "E-AC-3",
    "FLAC",
    "H.263",
    "H.264",
    "H.265",
    "MP2",
    "MP3",
    "MPEG-1",
    "MPEG-2",
    "MPEG-4",
    "Motion JPEG",
    "Opus",
    "PCM",
    "ProRes",
    "Theora",
    "TrueHD",
    "VC-1",
    "VP8",
    "VP9",
    "Vorbis",
    "WMA",
];

/// The longest duration, in milliseconds: a year. A longer one is an error of the file.
const LONGEST_MS: u64 = 366 * 86_400_000;

/// A codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaCodec(&'static str);

impl MediaCodec {
    /// The codec of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<MediaCodec> {
        CODECS.iter().find(|known| **known == text).map(|known| MediaCodec(known))
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// Width and height of the picture, in pixels; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The width as shown.
    pub width: u16,
    /// The height as shown.
    pub height: u16,
}

impl Resolution {
    /// `None` for an empty picture.
    #[must_use]
    pub fn new(width: u16, height: u16) -> Option<Resolution> {
        (width > 0 && height > 0).then_some(Resolution { width, height })
    }
}

/// Facts about a video or a sound; `None`: unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaFacts {
    duration_ms: Option<u64>,
    /// The resolution of the first video track.
    pub resolution: Option<Resolution>,
    /// The codec of the first video track.
    pub video: Option<MediaCodec>,
    /// The codec of the first sound track.
    pub audio: Option<MediaCodec>,
}

impl MediaFacts {
    /// The duration in milliseconds.
    #[must_use]
    pub fn duration_ms(&self) -> Option<u64> {
        self.duration_ms
    }

    /// Set the duration. An empty one, and one above a year, stay unknown.
    pub fn set_duration_ms(&mut self, duration: Option<u64>) {
        self.duration_ms = duration.filter(|ms| (1..=LONGEST_MS).contains(ms));
    }

    /// True if nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == MediaFacts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_codecs_and_sane_values_are_facts() {
        assert_eq!(MediaCodec::parse("H.264").map(MediaCodec::as_str), Some("H.264"));
        assert_eq!((MediaCodec::parse("h.264"), MediaCodec::parse("<b>")), (None, None));
        let mut facts = MediaFacts::default();
        for (duration, kept) in [(0, None), (LONGEST_MS, Some(LONGEST_MS)), (u64::MAX, None)] {
            facts.set_duration_ms(Some(duration));
            assert_eq!(facts.duration_ms(), kept);
        }
        assert!(Resolution::new(0, 1).is_none() && facts.is_empty());
    }
}
