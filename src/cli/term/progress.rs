//! A progress bar as text, and the width of text on a terminal.
//!
//! Pure functions: no output, no clock. Names come from strangers, so text for the screen passes
//! through [`plain`] or [`shorten`], which remove all characters that a terminal would obey.

use std::time::{Duration, Instant};

use bytesize::ByteSize;
use unicode_width::UnicodeWidthChar;

/// The state of a transfer.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    pub name: &'a str,
    /// Bytes transferred.
    pub done: u64,
    /// Bytes in total.
    pub size: u64,
    /// Bytes per second, smoothed.
    pub rate: f64,
    /// Why no bytes arrive, if so.
    pub stalled: Option<&'a str>,
}

/// The progress line, at most `columns` wide; `eta_word` stands before the remaining time. A narrow
/// line omits first the sizes, then the bar, the speed and the time; the name last.
pub fn line(p: &Progress<'_>, columns: usize, eta_word: &str) -> String {
    let percent = format!("{} %", share(p, 100));
    let sizes = format!("{} of {}", bytes(p.done), bytes(p.size));
    let (speed, left) = match p.stalled {
        Some(reason) => (shorten(reason, columns / 2), None),
        None => (
            format!("{}/s", bytes(p.rate as u64)),
            time_left(p).map(|time| format!("{} {time}", plain(eta_word))),
        ),
    };
    let (sizes, left) = (Some(sizes), left.as_deref());
    let (sizes, percent, speed) = (sizes.as_deref(), Some(&*percent), Some(&*speed));
    // The last part to be omitted: the reason of a stall, or the percentage.
    let (scant, least) = match p.stalled {
        Some(_) => (None, speed),
        None => (percent, left),
    };
    let layouts = [
        (WIDE_BAR, [percent, sizes, speed, left]),
        (NARROW_BAR, [percent, sizes, speed, left]),
        (NARROW_BAR, [percent, speed, left, None]),
        (0, [percent, speed, left, None]),
        (0, [scant, least, None, None]),
        (0, [scant, None, None, None]),
    ];
    let name_needs = width(p.name).min(NAME_LEAST);
    for (bar_width, parts) in layouts {
        let mut tail = String::new();
        if bar_width > 0 {
            tail.push_str(GAP);
            tail.push_str(&bar(p, bar_width));
        }
        for part in parts.into_iter().flatten() {
            tail.push_str(GAP);
            tail.push_str(part);
        }
        let room = columns.saturating_sub(width(&tail));
        if room >= name_needs.max(1) {
            return shorten(p.name, room) + &tail;
        }
    }
    shorten(p.name, columns)
}

/// A rate smoothed over the last few seconds.
///
/// The caller passes the time. A stalled transfer must keep calling [`note`](Self::note) for its
/// rate to fall.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    last: Option<(u64, Instant)>,
    /// The smoothed rate times `weight`.
    sum: f64,
    /// The observed share of the smoothing window, between 0 and 1.
    weight: f64,
}

impl Meter {
    /// A meter without measurements.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records that `done` bytes are here at `now`. A smaller count starts again; earlier
    /// measurements stay.
    pub fn note(&mut self, done: u64, now: Instant) {
        let Some((before, then)) = self.last else {
            self.last = Some((done, now));
            return;
        };
        let slice = now.saturating_duration_since(then);
        // Bytes of a slice too short for a division count with the next slice.
        if slice < SLICE && done >= before {
            return;
        }
        self.last = Some((done, now));
        if done < before {
            return;
        }
        let seconds = slice.as_secs_f64();
        let fresh = 1.0 - (-seconds / MEMORY.as_secs_f64()).exp();
        let rate = (done - before) as f64 / seconds;
        self.sum += fresh * (rate - self.sum);
        self.weight += fresh * (1.0 - self.weight);
    }

    /// Bytes per second; 0 until two records are far enough apart.
    pub fn rate(&self) -> f64 {
        if self.weight > 0.0 {
            // Without the division a young meter would tend towards zero.
            self.sum / self.weight
        } else {
            0.0
        }
    }
}

/// The text without characters that a terminal obeys: control characters, direction marks and other
/// invisible characters become U+FFFD.
pub fn plain(text: &str) -> String {
    text.chars().filter_map(seen).collect()
}

/// The plain text, cut with `…` if wider than `columns`.
pub fn shorten(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return plain(text);
    }
    let Some(room) = columns.checked_sub(1) else {
        return String::new();
    };
    let mut short = plain(head(text, room));
    short.push('…');
    short
}

/// The longest prefix that fits into `columns`.
pub fn head(text: &str, columns: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += cells(c);
        if used > columns {
            return &text[..at];
        }
    }
    text
}

/// The columns of the plain text.
pub fn width(text: &str) -> usize {
    text.chars().map(cells).sum()
}

/// The columns of one plain character.
pub fn cells(c: char) -> usize {
    seen(c).and_then(UnicodeWidthChar::width).unwrap_or(0)
}

/// The width of a bar, and of a bar on a narrow line.
const WIDE_BAR: usize = 20;
const NARROW_BAR: usize = 10;
/// Columns kept for the name before the parts behind it are omitted.
const NAME_LEAST: usize = 12;
/// Between two parts.
const GAP: &str = "  ";
/// The smoothing window: rates stay readable, and follow a change within seconds.
const MEMORY: Duration = Duration::from_secs(3);
/// The shortest slice of a rate: a division by less shows peaks.
const SLICE: Duration = Duration::from_millis(50);
/// A longer estimate is meaningless.
const LONGEST_GUESS: f64 = 100.0 * 86_400.0;

/// The visible form of a character, if any.
fn seen(c: char) -> Option<char> {
    match c {
        // Joiners and selectors only change the look of a neighbour, and terminals disagree about
        // the resulting width.
        '\u{200d}' | '\u{fe00}'..='\u{fe0f}' => None,
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'
        | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => Some(char::REPLACEMENT_CHARACTER),
        c if c.is_control() => Some(char::REPLACEMENT_CHARACTER),
        c => Some(c),
    }
}

/// How many of `parts` are done, rounded down; an empty file is complete.
fn share(p: &Progress<'_>, parts: usize) -> usize {
    if p.done >= p.size {
        return parts;
    }
    // Less than `parts`, since less than all is done.
    (u128::from(p.done) * parts as u128 / u128::from(p.size)) as usize
}

fn bar(p: &Progress<'_>, columns: usize) -> String {
    let full = share(p, columns);
    "█".repeat(full) + &"░".repeat(columns - full)
}

fn bytes(count: u64) -> String {
    ByteSize(count).display().iec().to_string()
}

/// The remaining time at this rate, if it can be estimated.
fn time_left(p: &Progress<'_>) -> Option<String> {
    let rest = p.size.saturating_sub(p.done);
    if rest == 0 || p.rate.is_nan() || p.rate <= 0.0 {
        return None;
    }
    let seconds = (rest as f64 / p.rate).ceil();
    if seconds > LONGEST_GUESS {
        return None;
    }
    let s = seconds as u64;
    Some(match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3_600 % 24),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn lecture() -> Progress<'static> {
        Progress {
            name: "aula1.mp4",
            done: GIB / 2,
            size: 2 * GIB,
            rate: 512.0 * 1024.0 * 1024.0,
            stalled: None,
        }
    }

    #[test]
    fn a_wide_line_has_all_parts() {
        assert_eq!(
            line(&lecture(), 100, "falta"),
            "aula1.mp4  █████░░░░░░░░░░░░░░░  25 %  512.0 MiB of 2.0 GiB  512.0 MiB/s  falta 3 s"
        );
    }

    #[test]
    fn a_narrow_line_omits_its_parts_one_after_another() {
        let at = |columns| line(&lecture(), columns, "falta");
        assert_eq!(
            at(80),
            "aula1.mp4  ██░░░░░░░░  25 %  512.0 MiB of 2.0 GiB  512.0 MiB/s  falta 3 s"
        );
        assert_eq!(at(60), "aula1.mp4  ██░░░░░░░░  25 %  512.0 MiB/s  falta 3 s");
        assert_eq!(at(45), "aula1.mp4  25 %  512.0 MiB/s  falta 3 s");
        assert_eq!(at(30), "aula1.mp4  25 %  falta 3 s");
        assert_eq!(at(16), "aula1.mp4  25 %");
        assert_eq!(at(10), "aula1.mp4");
        assert_eq!(at(5), "aula…");
        assert_eq!(at(1), "…");
        assert_eq!(at(0), "");
    }

    #[test]
    fn the_reason_of_a_stall_replaces_speed_and_time() {
        let stalled = Progress { stalled: Some("nobody has it"), ..lecture() };
        let at = |columns| line(&stalled, columns, "falta");
        assert_eq!(
            at(100),
            "aula1.mp4  █████░░░░░░░░░░░░░░░  25 %  512.0 MiB of 2.0 GiB  nobody has it"
        );
        assert_eq!(at(32), "aula1.mp4  25 %  nobody has it");
        assert_eq!(at(26), "aula1.mp4  nobody has it");
        assert_eq!(at(22), "aula1.mp4  nobody has…");
        assert_eq!(at(9), "aula1.mp4");
    }

    #[test]
    fn no_line_is_wider_than_its_columns() {
        let names = [
            "",
            "a",
            "講義の録画・第一回・完全版.mkv",
            "e\u{301}te\u{301}.mp4",
            "👩\u{200d}🏫 \u{2764}\u{fe0f}.mov",
            &"x".repeat(300),
        ];
        for name in names {
            for (done, size) in [(0, 0), (0, 1), (7, 7), (9, 7), (u64::MAX - 1, u64::MAX)] {
                for rate in [0.0, -1.0, 1.0, 1e300, f64::NAN, f64::INFINITY] {
                    for stalled in [None, Some(""), Some("waiting for 講義の録画")] {
                        let p = Progress { name, done, size, rate, stalled };
                        for columns in 0..130 {
                            let text = line(&p, columns, "falta");
                            assert!(width(&text) <= columns, "{columns}: {text}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_long_name_is_cut_and_leaves_room_for_the_rest() {
        let p = Progress {
            name: "a-very-long-name-of-a-lecture-in-many-parts-recorded-long-ago.mp4",
            ..lecture()
        };
        assert_eq!(
            line(&p, 80, "falta"),
            "a-very-long-nam…  ██░░░░░░░░  25 %  512.0 MiB of 2.0 GiB  512.0 MiB/s  falta 3 s"
        );
    }

    #[test]
    fn an_empty_file_is_complete() {
        let p = Progress { done: 0, size: 0, rate: 0.0, ..lecture() };
        assert_eq!(
            line(&p, 100, "falta"),
            "aula1.mp4  ████████████████████  100 %  0 B of 0 B  0 B/s"
        );
    }

    #[test]
    fn the_remaining_time_has_two_units_and_a_limit() {
        let left =
            |seconds: u64| time_left(&Progress { done: 0, size: seconds, rate: 1.0, ..lecture() });
        assert_eq!(left(0), None);
        assert_eq!(left(59).as_deref(), Some("59 s"));
        assert_eq!(left(125).as_deref(), Some("2 min 5 s"));
        assert_eq!(left(3_600 + 120).as_deref(), Some("1 h 2 min"));
        assert_eq!(left(2 * 86_400 + 3_600).as_deref(), Some("2 d 1 h"));
        assert_eq!(left(101 * 86_400), None);
    }

    #[test]
    fn a_hostile_name_shows_no_control_characters() {
        let p = Progress {
            name: "a\x1b[2J\u{9b}\u{202e}gpj.exe\n",
            stalled: Some("\x07bell"),
            ..lecture()
        };
        let text = line(&p, 100, "falta");
        assert!(text.starts_with("a\u{fffd}[2J\u{fffd}\u{fffd}gpj.exe\u{fffd}  "));
        assert!(text.ends_with("\u{fffd}bell"));
    }

    #[test]
    fn a_wide_character_is_never_cut_in_half() {
        assert_eq!(shorten("講義録", 6), "講義録");
        assert_eq!(shorten("講義録", 5), "講義…");
        assert_eq!(shorten("講義録", 4), "講…");
        assert_eq!(shorten("講義録", 1), "…");
    }

    #[test]
    fn a_steady_rate_is_known_at_once_and_stays() {
        let start = Instant::now();
        let mut meter = Meter::new();
        assert_eq!(meter.rate(), 0.0);
        for tick in 0..100 {
            meter.note(1_000 * tick, start + Duration::from_millis(100 * tick));
            if tick > 0 {
                assert!((meter.rate() - 10_000.0).abs() < 1.0, "{}", meter.rate());
            }
        }
    }

    #[test]
    fn a_stall_lets_the_rate_fall() {
        let start = Instant::now();
        let mut meter = Meter::new();
        meter.note(0, start);
        meter.note(10_000, start + Duration::from_secs(1));
        meter.note(10_000, start + Duration::from_secs(4));
        assert!(meter.rate() < 5_000.0);
        meter.note(10_000, start + Duration::from_secs(60));
        assert!(meter.rate() < 1.0);
    }

    #[test]
    fn frequent_records_lose_no_bytes_and_show_no_peaks() {
        let start = Instant::now();
        let mut meter = Meter::new();
        for tick in 0..=1_000 {
            meter.note(10 * tick, start + Duration::from_millis(tick));
            assert!(meter.rate() < 10_001.0);
        }
        assert!((meter.rate() - 10_000.0).abs() < 1.0);
    }

    #[test]
    fn a_count_that_falls_starts_over() {
        let start = Instant::now();
        let mut meter = Meter::new();
        meter.note(0, start);
        meter.note(1_000, start + Duration::from_secs(1));
        meter.note(0, start + Duration::from_secs(2));
        meter.note(1_000, start + Duration::from_secs(3));
        assert!((meter.rate() - 1_000.0).abs() < 1.0);
        meter.note(2_000, start);
        assert!(meter.rate().is_finite());
    }
}
