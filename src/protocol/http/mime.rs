//! Content types by file extension, and which of them a browser may show inline.

/// The content type of unknown extensions.
const UNKNOWN: &str = "application/octet-stream";

const TYPES: [(&str, &str); 38] = [
    ("3gp", "video/3gpp"),
    ("aac", "audio/aac"),
    ("avi", "video/x-msvideo"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("csv", "text/csv; charset=utf-8"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("log", "text/plain; charset=utf-8"),
    ("m4a", "audio/mp4"),
    ("m4v", "video/mp4"),
    ("md", "text/markdown; charset=utf-8"),
    ("mkv", "video/x-matroska"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpg", "video/mpeg"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("srt", "text/plain; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("ts", "video/mp2t"),
    ("txt", "text/plain; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("zip", "application/zip"),
];

/// The content type of a lower-case extension.
#[must_use]
pub fn content_type(extension: &str) -> &'static str {
    TYPES.iter().find(|(known, _)| *known == extension).map_or(UNKNOWN, |(_, kind)| kind)
}

/// True for audio, video and images, which can't contain scripts. SVG can.
#[must_use]
pub fn is_inline(content_type: &str) -> bool {
    let family = content_type.split('/').next().unwrap_or_default();
    matches!(family, "audio" | "video" | "image") && content_type != "image/svg+xml"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_html_is_never_inline() {
        for extension in ["html", "svg", "txt", "pdf", "exe", ""] {
            assert!(!is_inline(content_type(extension)), "{extension}");
        }
        for extension in ["mp4", "mkv", "ogg", "flac", "wav", "mp3", "png"] {
            assert!(is_inline(content_type(extension)), "{extension}");
        }
    }
}
