//! Words of the console about the transfers of this peer, as the commands of the program have them.

use crate::client::command::DownloadTarget;
use crate::client::words::unquoted;
use crate::io::schedule::read_rate;
use crate::protocol::control::{ControlRequest, Selection, WantedName};
use crate::ui::event::Failure;

/// Past transfers that HISTORY shows: a screen or two.
const SHOWN: usize = 50;

impl From<&DownloadTarget> for WantedName {
    fn from(target: &DownloadTarget) -> WantedName {
        WantedName {
            name: target.name.as_ref().map(ToString::to_string),
            root: target.root.map(|root| root.to_string()),
            folder: target.is_folder,
            absolute: target.is_absolute,
        }
    }
}

/// The request of a line; `None` for another verb, which is in upper case.
pub(super) fn parse(verb: &str, rest: &str) -> Option<Result<ControlRequest, Failure>> {
    let rest = rest.trim();
    let selected = |usage: &'static str| match rest {
        "" => Err(Failure::Usage(usage)),
        _ if rest.eq_ignore_ascii_case("all") => Ok(Selection::All),
        _ => Ok(Selection::Words(vec![unquoted(rest).to_owned()])),
    };
    let subject = |usage: &'static str| match rest {
        "" => Err(Failure::Usage(usage)),
        _ => Ok(unquoted(rest).to_owned()),
    };
    let alone = |request: ControlRequest, usage: &'static str| match rest {
        "" => Ok(request),
        _ => Err(Failure::Usage(usage)),
    };
    Some(match verb {
        "TRANSFERS" => alone(ControlRequest::Transfers, "TRANSFERS"),
        "BLOCKED" => alone(ControlRequest::Blocked, "BLOCKED"),
        "ADD" if rest.is_empty() => Err(Failure::Usage("ADD NAME")),
        "ADD" => DownloadTarget::read(rest).map(|target| ControlRequest::Add {
            wanted: vec![WantedName::from(&target)],
            from: None,
            paused: false,
        }),
        "PAUSE" => selected("PAUSE NUMBER|NAME|ALL").map(|of| ControlRequest::Pause { of }),
        "RESUME" => selected("RESUME NUMBER|NAME|ALL").map(|of| ControlRequest::Resume { of }),
        "CANCEL" => selected("CANCEL NUMBER|NAME|ALL").map(|of| ControlRequest::Cancel { of }),
        "TOP" => selected("TOP NUMBER|NAME").map(|of| ControlRequest::Top { of }),
        "BLOCK" => {
            subject("BLOCK ADDRESS|KEY|USER").map(|subject| ControlRequest::Block { subject })
        }
        "ALLOW" => {
            subject("ALLOW ADDRESS|KEY|USER").map(|subject| ControlRequest::Allow { subject })
        }
        "LIMIT" => limit(rest),
        "HISTORY" => {
            let most = if rest.is_empty() { Ok(SHOWN) } else { rest.parse() };
            most.map(|most| ControlRequest::History { most })
                .map_err(|_| Failure::Usage("HISTORY [N]"))
        }
        _ => return None,
    })
}

/// `UP 2MB DOWN NONE`, in any order.
fn limit(rest: &str) -> Result<ControlRequest, Failure> {
    let wrong = || Failure::Usage("LIMIT [UP RATE|NONE] [DOWN RATE|NONE]");
    let (mut up, mut down) = (None, None);
    let words: Vec<&str> = rest.split_whitespace().collect();
    for pair in words.chunks(2) {
        let [way, text] = pair else { return Err(wrong()) };
        let rate = match text.to_ascii_uppercase().as_str() {
            "NONE" => 0,
            _ => read_rate(text).map_err(|_| wrong())?,
        };
        match way.to_ascii_uppercase().as_str() {
            "UP" => up = Some(rate),
            "DOWN" => down = Some(rate),
            _ => return Err(wrong()),
        }
    }
    Ok(ControlRequest::Limit { up, down })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<ControlRequest, Failure> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        parse(verb, rest).expect("a verb")
    }

    fn words(word: &str) -> Selection {
        Selection::Words(vec![word.to_owned()])
    }

    #[test]
    fn words_name_transfers_with_blanks_and_all() {
        assert_eq!(read("TRANSFERS"), Ok(ControlRequest::Transfers));
        assert_eq!(read("PAUSE a b.mp4"), Ok(ControlRequest::Pause { of: words("a b.mp4") }));
        assert_eq!(read("TOP \"a b.mp4\""), Ok(ControlRequest::Top { of: words("a b.mp4") }));
        assert_eq!(read("RESUME all"), Ok(ControlRequest::Resume { of: Selection::All }));
        assert_eq!(read("CANCEL 3"), Ok(ControlRequest::Cancel { of: words("3") }));
        let wanted =
            WantedName { name: Some("Dark".into()), folder: true, ..WantedName::default() };
        let add = ControlRequest::Add { wanted: vec![wanted], from: None, paused: false };
        assert_eq!(read("ADD Dark/"), Ok(add));
        assert_eq!(read("HISTORY"), Ok(ControlRequest::History { most: SHOWN }));
        assert_eq!(read("HISTORY 3"), Ok(ControlRequest::History { most: 3 }));
        assert!(parse("GET", "a").is_none());
    }

    #[test]
    fn limits_are_rates_or_none() {
        let limit = |up, down| Ok(ControlRequest::Limit { up, down });
        assert_eq!(read("LIMIT"), limit(None, None));
        assert_eq!(read("LIMIT up 2MB"), limit(Some(2_000_000), None));
        assert_eq!(read("LIMIT DOWN none UP 1KiB/s"), limit(Some(1_024), Some(0)));
        for line in ["LIMIT 3", "LIMIT up", "LIMIT up fast", "LIMIT up 0", "LIMIT in 3MB"] {
            assert!(matches!(read(line), Err(Failure::Usage(_))), "{line}");
        }
    }

    #[test]
    fn a_missing_argument_shows_the_usage() {
        for line in ["ADD", "PAUSE", "RESUME", "CANCEL", "TOP", "BLOCK", "ALLOW", "TRANSFERS x"] {
            assert!(matches!(read(line), Err(Failure::Usage(_))), "{line}");
        }
        assert!(matches!(read("HISTORY x"), Err(Failure::Usage(_))));
        assert!(matches!(read("ADD ../x"), Err(Failure::Name(..))));
    }
}
