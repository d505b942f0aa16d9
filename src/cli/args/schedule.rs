//! Limits by the time of the day on the command line.

use cardume::io::schedule::ScheduleWindow;

use crate::cli::args;

/// `08:00-18:00 upload=1MB download=none`.
pub fn window(text: &str) -> Result<ScheduleWindow, String> {
    let wrong = || "a schedule is like '08:00-18:00 upload=1MB download=none'".to_owned();
    let mut words = text.split_whitespace();
    let (from, until) = words.next().and_then(|times| times.split_once('-')).ok_or_else(wrong)?;
    let times = minute(from).zip(minute(until)).ok_or_else(wrong)?;
    let (mut upload, mut download) = (None, None);
    for word in words {
        let (direction, limit) = word.split_once('=').ok_or_else(wrong)?;
        let limit = if limit == "none" { None } else { Some(args::rate(limit)?) };
        match direction {
            "upload" if upload.is_none() => upload = Some(limit),
            "download" if download.is_none() => download = Some(limit),
            _ => return Err(wrong()),
        }
    }
    ScheduleWindow::new(times, upload, download).ok_or_else(wrong)
}

/// The minute of the day; 24:00 is the end of the day.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u16>().ok())?
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    (minute < 60 && hour * 60 + minute <= 24 * 60).then_some(hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_two_times_and_a_limit() {
        for text in [
            "08:00-18:00 upload=1MB",
            "22:00-06:00 download=none upload=5k",
            "00:00-24:00 upload=none",
        ] {
            assert!(window(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "08:00-18:00",
            "08:00-08:00 upload=1MB",
            "8:00-18:00 upload=1MB",
            "08:60-18:00 upload=1MB",
            "08:00-25:00 upload=1MB",
            "08:00-18:00 upload=1MB upload=2MB",
            "08:00-18:00 up=1MB",
            "08:00-18:00 upload=fast",
            "08:00-18:00 upload",
            "é8:00-18:00 upload=1MB",
        ] {
            assert!(window(text).is_err(), "{text}");
        }
    }
}
