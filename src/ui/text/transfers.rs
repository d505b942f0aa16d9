//! The transfers of a peer in words: lists with tabs between the columns.

use crate::protocol::control::{ControlAnswer, PastTransfer, TransferLine};
use crate::protocol::http::date;
use crate::protocol::types::file_name::printable;
use crate::ui::lang::Lang;
use crate::ui::text::{Output, catalog, rows, size};

/// An answer of a running peer in words.
pub(super) fn say(answer: &ControlAnswer, lang: Lang) -> Output {
    match answer {
        ControlAnswer::Transfers { lines, totals } => {
            let note = catalog(lang).totals(totals);
            match rows(lines.iter().map(transfer)) {
                Output::Line(line) => Output::Answer { line, note },
                _ => Output::Note(note),
            }
        }
        ControlAnswer::Changed(lines) => rows(lines.iter().map(transfer)),
        ControlAnswer::Limits { up, down } => {
            Output::Line(format!("up\t{}\ndown\t{}", limit(*up), limit(*down)))
        }
        ControlAnswer::Blocked(subjects) => rows(subjects.iter().map(|text| printable(text))),
        ControlAnswer::History(past) => rows(past.iter().map(past_transfer)),
        ControlAnswer::Failed { text, .. } => Output::Note(printable(text)),
    }
}

/// The limit of a rate.
pub(super) fn limit(rate: Option<u64>) -> String {
    rate.map_or_else(|| "none".to_owned(), |rate| rate.to_string())
}

fn transfer(line: &TransferLine) -> String {
    let id = line.id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let way = if line.upload { "up" } else { "down" };
    let more = [
        line.peer.map(|peer| peer.to_string()),
        line.user.as_deref().map(printable),
        line.why.as_deref().map(printable),
    ];
    let more = more.iter().flatten().fold(String::new(), |all, word| all + "\t" + word);
    let (state, name) = (line.state.as_str(), printable(&line.name));
    let (held, size, rate) = (line.held, size(line.size), line.rate);
    format!("{id}\t{way}\t{state}\t{held}\t{size}\t{rate}\t{name}{more}")
}

fn past_transfer(past: &PastTransfer) -> String {
    let more = [
        past.peer.map(|peer| peer.to_string()),
        past.user.as_deref().map(printable),
        past.why.as_deref().map(printable),
    ];
    let more = more.iter().flatten().fold(String::new(), |all, word| all + "\t" + word);
    let (end, size, name) = (past.end.as_str(), size(past.size), printable(&past.name));
    format!("{}\t{end}\t{size}\t{name}{more}", date::iso(past.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::control::{TransferEnd, TransferState, TransferTotals};

    #[test]
    fn a_transfer_is_a_row_that_a_terminal_can_show() {
        let line = TransferLine {
            id: Some(3),
            name: "a\u{1b}[31m.mp4".into(),
            upload: false,
            state: TransferState::Failed,
            held: 5,
            size: None,
            rate: 0,
            peer: None,
            user: None,
            root: None,
            added: Some(0),
            why: Some("no\nroom".into()),
        };
        let totals = TransferTotals { down: Some(7), ..TransferTotals::default() };
        for lang in [Lang::Pt, Lang::Es, Lang::En] {
            let answer = ControlAnswer::Transfers { lines: vec![line.clone()], totals };
            let Output::Answer { line, note } = say(&answer, lang) else { panic!("an answer") };
            assert!(line.starts_with("3\tdown\tfailed\t5\t?\t0\ta"), "{line}");
            assert!(!line.contains(['\u{1b}', '\n']), "{line:?}");
            assert!(note.contains('7'), "{note}");
            let none = ControlAnswer::Transfers { lines: Vec::new(), totals };
            assert!(matches!(say(&none, lang), Output::Note(_)));
        }
    }

    #[test]
    fn a_past_transfer_has_its_time_first() {
        let past = PastTransfer {
            at: 784_111_777,
            end: TransferEnd::Sent,
            name: "a.mp4".into(),
            size: Some(9),
            peer: Some(([192, 0, 2, 7], 4_000).into()),
            user: Some("ana".into()),
            root: None,
            why: None,
        };
        let text = "1994-11-06T08:49:37Z\tsent\t9\ta.mp4\t192.0.2.7:4000\tana";
        assert_eq!(say(&ControlAnswer::History(vec![past]), Lang::En), Output::Line(text.into()));
    }
}
