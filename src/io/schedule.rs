//! Rate limits by the time of the day.

use std::time::Duration;

use bytesize::ByteSize;

/// Minutes of a day.
const DAY: u16 = 24 * 60;
/// The longest time until the next look at the clock: the local time may jump.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Bytes a second in both directions. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferRates {
    /// Bytes of files sent per second.
    pub upload: Option<u64>,
    /// Bytes of files received per second.
    pub download: Option<u64>,
}

/// A rate in bytes a second, such as `100MB` or `1.5MiB/s`.
///
/// # Errors
/// The reason, for a text that is no rate of at least a byte.
pub fn read_rate(text: &str) -> Result<u64, &'static str> {
    let text = text.trim().trim_end_matches("/s");
    let rate: ByteSize = text.parse().map_err(|_| "a rate is like 100MB or 1.5MiB, per second")?;
    match rate.as_u64() {
        0 => Err("a rate is at least 1 byte a second"),
        rate => Ok(rate),
    }
}

/// Limits for a part of each day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleWindow {
    /// Minutes since midnight. A window whose end is before its start goes over midnight.
    from: u16,
    until: u16,
    /// The limits that differ from the usual ones.
    upload: Option<Option<u64>>,
    download: Option<Option<u64>>,
}

impl ScheduleWindow {
    /// A window between two minutes of the day. `None` for a window without a length, a limit or a
    /// valid time.
    #[must_use]
    pub fn new(
        (from, until): (u16, u16),
        upload: Option<Option<u64>>,
        download: Option<Option<u64>>,
    ) -> Option<ScheduleWindow> {
        let is_valid = from < DAY && until <= DAY && from != until;
        let limits = upload.is_some() || download.is_some();
        (is_valid && limits).then_some(ScheduleWindow { from, until, upload, download })
    }

    fn holds(&self, minute: u16) -> bool {
        match self.from < self.until {
            true => (self.from..self.until).contains(&minute),
            false => minute >= self.from || minute < self.until,
        }
    }
}

/// The windows of a day, in order: the first that holds decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    windows: Vec<ScheduleWindow>,
}

impl Schedule {
    /// A schedule of these windows.
    #[must_use]
    pub fn new(windows: Vec<ScheduleWindow>) -> Schedule {
        Schedule { windows }
    }

    /// True without a window: the usual limits always hold.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// The limits at this time since midnight.
    #[must_use]
    pub fn rates(&self, usual: TransferRates, time_of_day: Duration) -> TransferRates {
        let minute = u16::try_from(time_of_day.as_secs() / 60).unwrap_or(0);
        let mut holding = self.windows.iter().filter(|window| window.holds(minute));
        holding.next().map_or(usual, |window| TransferRates {
            upload: window.upload.unwrap_or(usual.upload),
            download: window.download.unwrap_or(usual.download),
        })
    }

    /// The time until the limits may change.
    #[must_use]
    pub fn until_change(&self, time_of_day: Duration) -> Duration {
        let ends = self.windows.iter().flat_map(|window| [window.from, window.until]);
        let day = Duration::from_secs(u64::from(DAY) * 60);
        let until = ends.map(|end| {
            let end = Duration::from_secs(u64::from(end) * 60);
            if end > time_of_day {
                end - time_of_day
            } else {
                (end + day).saturating_sub(time_of_day)
            }
        });
        until.min().unwrap_or(LOOK_EVERY).min(LOOK_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: u64, minute: u64, second: u64) -> Duration {
        Duration::from_secs(hour * 3600 + minute * 60 + second)
    }

    fn window(from: u16, until: u16, upload: Option<Option<u64>>) -> ScheduleWindow {
        ScheduleWindow::new((from * 60, until * 60), upload, None).unwrap()
    }

    #[test]
    fn the_first_window_that_holds_decides() {
        let schedule = Schedule::new(vec![window(22, 6, Some(None)), window(5, 18, Some(Some(7)))]);
        let usual = TransferRates { upload: Some(3), download: Some(4) };
        let upload = |time| {
            let rates = schedule.rates(usual, time);
            assert_eq!(rates.download, Some(4));
            rates.upload
        };
        assert_eq!(upload(at(5, 59, 59)), None);
        assert_eq!(upload(at(6, 0, 0)), Some(7));
        assert_eq!(upload(at(17, 59, 59)), Some(7));
        assert_eq!(upload(at(18, 0, 0)), Some(3));
        assert_eq!((upload(at(22, 0, 0)), upload(at(0, 0, 0))), (None, None));
    }

    #[test]
    fn the_clock_is_looked_at_when_a_window_ends_and_each_minute() {
        let schedule = Schedule::new(vec![window(22, 24, Some(None))]);
        assert_eq!(schedule.until_change(at(21, 59, 57)), Duration::from_secs(3));
        assert_eq!(schedule.until_change(at(23, 59, 58)), Duration::from_secs(2));
        assert_eq!(schedule.until_change(at(22, 0, 0)), LOOK_EVERY);
        assert!(schedule.until_change(at(0, 0, 0)) > Duration::ZERO);
    }

    #[test]
    fn a_window_has_a_length_and_a_limit() {
        assert!(ScheduleWindow::new((0, 1440), Some(None), None).is_some_and(|w| w.holds(0)));
        for (from, until) in [(5, 5), (1440, 5), (0, 1441)] {
            assert!(ScheduleWindow::new((from, until), Some(None), None).is_none());
        }
        assert!(ScheduleWindow::new((1, 2), None, None).is_none());
    }
}
