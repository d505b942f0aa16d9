//! Outcomes of commands about links, in words.

use crate::protocol::link::LinkEntry;
use crate::protocol::types::link_ticket::LinkSubject;
use crate::ui::event::LinkEvent;
use crate::ui::lang::Lang;
use crate::ui::text::catalog::LinkNotice;
use crate::ui::text::members::span;
use crate::ui::text::{Output, catalog, rows};

/// An outcome in words: the URL alone on stdout, and lists with tabs between the columns.
pub(super) fn say(event: &LinkEvent, lang: Lang) -> Output {
    match event {
        LinkEvent::Made { url, id, left, pin, is_here_only } => {
            let url = url.reveal();
            let command = format!("curl -k --pinnedpubkey '{pin}' -O '{url}'");
            let (id, lasts, is_here_only) = (*id, &*span(*left), *is_here_only);
            let notice = LinkNotice { id, lasts, command: &command, is_here_only };
            Output::Answer { line: url.to_owned(), note: catalog(lang).link(&notice) }
        }
        LinkEvent::Links(links) => rows(links.iter().map(link)),
        LinkEvent::Revoked => Output::Line("UNLINK_OK".into()),
    }
}

fn link(entry: &LinkEntry) -> String {
    let LinkEntry { id, file, left, fetched } = entry;
    let file = match file {
        LinkSubject::Name(name) => name.to_string(),
        LinkSubject::Root(root) => format!("b3:{root}"),
    };
    format!("{id}\t{}\t{fetched}\t{file}", span(*left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::link::LinkUrl;
    use crate::protocol::types::ids::ContentHash;
    use crate::protocol::types::link_ticket::{LinkId, LinkKey, LinkTicket};
    use crate::ui::event::UiEvent;

    fn made() -> LinkEvent {
        let root = LinkSubject::Root(ContentHash([0x61; 32]));
        let ticket = LinkTicket::new(&LinkKey::new([7; 32]), 9, LinkId(3), &root);
        let url = LinkUrl::new("[::1]:4000", &ticket, "/a%20b.mp4");
        LinkEvent::Made {
            url,
            id: LinkId(3),
            left: 3_600,
            pin: "sha256//x".into(),
            is_here_only: true,
        }
    }

    #[test]
    fn the_url_is_alone_on_its_line_and_the_command_is_ready() {
        for lang in [Lang::Pt, Lang::Es, Lang::En] {
            let Output::Answer { line, note } = say(&made(), lang) else { panic!("an answer") };
            assert!(line.starts_with("https://[::1]:4000/t/AQAAAAkAAAAD"), "{line}");
            assert!(line.ends_with("/a%20b.mp4") && line.len() == 65, "{line}");
            let command = format!("curl -k --pinnedpubkey 'sha256//x' -O '{line}'");
            assert!(note.lines().any(|row| row == command), "{note}");
            assert!(note.contains("00000003") && note.contains("60m"), "{note}");
            assert!(note.contains("--host"), "{note}");
        }
    }

    #[test]
    fn an_event_does_not_show_its_ticket_in_a_log() {
        let shown = format!("{:?}", UiEvent::Link(Box::new(made())));
        assert!(shown.contains("LinkUrl(..)") && !shown.contains("AQAAA"), "{shown}");
    }

    #[test]
    fn a_list_has_a_row_for_each_link() {
        let file = LinkSubject::Root(ContentHash([0x61; 32]));
        let entry = LinkEntry { id: LinkId(3), file, left: 59, fetched: 2 };
        let Output::Line(text) = say(&LinkEvent::Links(vec![entry]), Lang::En) else {
            panic!("a line")
        };
        assert_eq!(text, format!("00000003\t59s\t2\tb3:{}", "61".repeat(32)));
        assert_eq!(say(&LinkEvent::Links(Vec::new()), Lang::En), Output::Silent);
    }
}
