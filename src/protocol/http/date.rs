//! HTTP dates (RFC 9110, section 5.6.7): three formats are parsed, one is format. Times are
//! seconds since 1970 in UTC.

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// 1 January 1970 was a Thursday.
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const DAY: i64 = 86_400;
/// 31 December 9999, 23:59:59: the format has no later year.
const LAST: i64 = 253_402_300_799;

/// Format as `Sun, 06 Nov 1994 08:49:37 GMT`; `None` before 1970 and after 9999.
pub(super) fn format(seconds: i64) -> Option<String> {
    if !(0..=LAST).contains(&seconds) {
        return None;
    }
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let month = MONTHS.get(usize::try_from(month - 1).ok()?)?;
    let weekday = DAYS.get(usize::try_from(days.rem_euclid(7)).ok()?)?;
    Some(format!(
        "{weekday}, {day:02} {month} {year:04} {:02}:{:02}:{:02} GMT",
        second / 3600,
        second / 60 % 60,
        second % 60
    ))
}

/// Format as `1994-11-06T08:49:37Z`; a time after 9999 is the last of that year.
#[must_use]
pub fn iso(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(LAST).min(LAST);
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Parse a date; `None` for an invalid one, which counts as absent.
pub(super) fn read(text: &str) -> Option<i64> {
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let (day, month, year, time) = match words[..] {
        // Sun, 06 Nov 1994 08:49:37 GMT
        [weekday, day, month, year, time, "GMT"] if weekday.ends_with(',') => {
            (number(day, 2)?, month, number(year, 4)?, time)
        }
        // Sunday, 06-Nov-94 08:49:37 GMT
        [weekday, date, time, "GMT"] if weekday.ends_with(',') => {
            let mut parts = date.splitn(3, '-');
            let (day, month, year) =
                (number(parts.next()?, 2)?, parts.next()?, number(parts.next()?, 2)?);
            (day, month, if year < 70 { 2000 + year } else { 1900 + year }, time)
        }
        // Sun Nov  6 08:49:37 1994
        [_, month, day, time, year] => {
            (number(day, day.len().clamp(1, 2))?, month, number(year, 4)?, time)
        }
        _ => return None,
    };
    let month = i64::try_from(MONTHS.iter().position(|known| *known == month)?).ok()? + 1;
    let mut parts = time.splitn(3, ':');
    let (hour, minute, second) =
        (number(parts.next()?, 2)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    // Leap seconds are not counted.
    if !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_before(year, month, day);
    (civil(days) == (year, month, day))
        .then_some(days * DAY + hour * 3600 + minute * 60 + second.min(59))
}

fn number(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

/// Days from 1 January 1970 to this date. Years start in March here, so that a leap day is the last
/// day of its year.
#[must_use]
pub fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a number of days since 1 January 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_formats_are_parsed_and_one_is_written() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(read(text), Some(784_111_777), "{text}");
        }
        assert_eq!(format(784_111_777).as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        for seconds in [0, 951_782_400, 951_868_799, 1_709_164_800, 4_107_542_400, LAST] {
            assert_eq!(read(&format(seconds).unwrap()), Some(seconds), "{seconds}");
        }
        assert_eq!((format(-1), format(LAST + 1), format(i64::MAX)), (None, None, None));
    }

    #[test]
    fn invalid_dates_are_none() {
        for text in [
            "",
            "yesterday",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 BRT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 99999 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
