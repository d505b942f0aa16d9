//! A line editor for a terminal in raw mode. Input: bytes of keys. Output: finished lines, and the
//! bytes that redraw the screen.
//!
//! The editor performs no I/O and reads no clock; the caller passes the width of the screen and
//! completes words.

use std::collections::VecDeque;
use std::mem;

use crate::cli::term::keys::{KeyDecoder, TermKey};
use crate::cli::term::progress::{cells, head, plain, shorten, width};

/// The result of some keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edited {
    /// A line was entered. Typed text has no control characters; a completed name is inserted
    /// unchanged.
    Line(String),
    /// Ctrl-D on an empty line.
    End,
    /// Ctrl-C; the edited line is dropped.
    Interrupt,
}

/// The edited line, the status lines above, and their layout on the screen.
///
/// While shown, the editor owns the screen below the last printed line. To print a line: hide the
/// editor, write the line, show the editor.
#[derive(Debug)]
pub struct Editor {
    columns: usize,
    prompt: String,
    status: Vec<String>,
    line: String,
    /// The cursor as an offset into `line`.
    cursor: usize,
    /// The first visible character as an offset into `line`.
    left: usize,
    keys: KeyDecoder,
    history: History,
    /// The last key was a Tab with several candidates.
    tabbed: bool,
    shown: bool,
    /// The widths of the rows above the prompt.
    above: Vec<usize>,
    /// The column of the cursor on the screen.
    column: usize,
}

impl Editor {
    /// A hidden editor without prompt and status; 0 columns: unknown width.
    pub fn new(columns: usize) -> Self {
        Self {
            columns: width_or_default(columns),
            prompt: String::new(),
            status: Vec::new(),
            line: String::new(),
            cursor: 0,
            left: 0,
            keys: KeyDecoder::Plain,
            history: History::default(),
            tabbed: false,
            shown: false,
            above: Vec::new(),
            column: 0,
        }
    }

    /// Sets the width of the screen. The next [`show`](Self::show) repairs rows that the terminal
    /// has wrapped.
    pub fn resize(&mut self, columns: usize) {
        self.columns = width_or_default(columns);
    }

    /// Sets the prompt.
    pub fn set_prompt(&mut self, prompt: &str, out: &mut Vec<u8>) {
        if self.prompt != prompt {
            self.prompt = prompt.to_owned();
            self.redraw(out);
        }
    }

    /// Sets the status lines above the prompt. Status lines and prompt must be fewer than
    /// the rows of the screen.
    pub fn set_status(&mut self, lines: Vec<String>, out: &mut Vec<u8>) {
        if self.status != lines {
            self.status = lines;
            self.redraw(out);
        }
    }

    /// Draws status lines, prompt and edited line with the cursor. The cursor must be at column 0.
    pub fn show(&mut self, out: &mut Vec<u8>) {
        self.shown = true;
        self.redraw(out);
    }

    /// Erases all rows, and leaves the cursor at the start of the first.
    pub fn hide(&mut self, out: &mut Vec<u8>) {
        if self.shown {
            self.erase(out);
            self.shown = false;
        }
    }

    /// Drops the edited line.
    pub fn clear_line(&mut self, out: &mut Vec<u8>) {
        self.replace(0, self.line.len(), "");
        self.history.leave();
        self.redraw(out);
    }

    /// Processes typed bytes, in fragments of any length.
    ///
    /// `complete` gets the text before the cursor and returns replacements for its last word. A
    /// word begins behind a blank; a word that begins with a double quote contains blanks up to the
    /// next quote.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        complete: &dyn Fn(&str) -> Vec<String>,
        out: &mut Vec<u8>,
    ) -> Vec<Edited> {
        let mut edited = Vec::new();
        let mut pressed = false;
        for &byte in bytes {
            if let Some(key) = self.keys.take(byte) {
                edited.extend(self.press(key, complete, out));
                pressed = true;
            }
        }
        if pressed {
            self.redraw(out);
        }
        edited
    }

    fn press(
        &mut self,
        key: TermKey,
        complete: &dyn Fn(&str) -> Vec<String>,
        out: &mut Vec<u8>,
    ) -> Option<Edited> {
        let tabbed = mem::replace(&mut self.tabbed, false);
        let (cursor, end) = (self.cursor, self.line.len());
        match key {
            TermKey::Text(c) => self.replace(cursor, cursor, c.encode_utf8(&mut [0; 4])),
            TermKey::Left => self.cursor = before(&self.line, cursor),
            TermKey::Right => self.cursor = behind(&self.line, cursor),
            TermKey::Home => self.cursor = 0,
            TermKey::End => self.cursor = end,
            TermKey::Up => {
                let line = self.history.older(&self.line);
                self.recall(line);
            }
            TermKey::Down => {
                let line = self.history.newer();
                self.recall(line);
            }
            TermKey::Backspace => self.replace(before(&self.line, cursor), cursor, ""),
            TermKey::DeleteOrEnd if end == 0 => return Some(Edited::End),
            TermKey::Delete | TermKey::DeleteOrEnd => {
                self.replace(cursor, behind(&self.line, cursor), "");
            }
            TermKey::CutBefore => self.replace(0, cursor, ""),
            TermKey::CutBehind => self.replace(cursor, end, ""),
            TermKey::CutWord => {
                let kept = self.line[..cursor].trim_end();
                let start = kept.trim_end_matches(|c: char| !c.is_whitespace()).len();
                self.replace(start, cursor, "");
            }
            TermKey::Clear if self.shown => {
                out.extend_from_slice(b"\x1b[H");
                self.above.clear();
                self.column = 0;
                self.erase(out);
            }
            TermKey::Clear => {}
            TermKey::Tab => self.complete(tabbed, complete, out),
            TermKey::Interrupt => {
                self.replace(0, end, "");
                self.history.leave();
                return Some(Edited::Interrupt);
            }
            TermKey::Enter => {
                self.erase(out);
                self.print(&format!("{}{}", self.prompt, self.line), out);
                self.cursor = 0;
                let line = mem::take(&mut self.line);
                self.history.keep(&line);
                return Some(Edited::Line(line));
            }
        }
        None
    }

    /// Replaces a part of the line with `text` and puts the cursor behind, unless the line would be
    /// too long.
    fn replace(&mut self, from: usize, to: usize, text: &str) {
        if self.line.len() - (to - from) + text.len() <= LINE_MAX {
            self.line.replace_range(from..to, text);
            self.cursor = from + text.len();
        }
    }

    fn recall(&mut self, line: Option<String>) {
        if let Some(line) = line {
            self.cursor = line.len();
            self.line = line;
        }
    }

    fn complete(&mut self, again: bool, complete: &dyn Fn(&str) -> Vec<String>, out: &mut Vec<u8>) {
        let typed = &self.line[..self.cursor];
        let start = word_start(typed);
        let candidates = complete(typed);
        match candidates.as_slice() {
            [] => {}
            // A folder is rarely the end of a path, so no blank follows.
            [only] if only.ends_with(std::path::is_separator) => {
                self.replace(start, self.cursor, only);
            }
            [only] => self.replace(start, self.cursor, &format!("{only} ")),
            _ if again => {
                self.list(&candidates, out);
                self.tabbed = true;
            }
            [first, others @ ..] => {
                let common =
                    others.iter().fold(first.as_str(), |common, other| alike(common, other));
                // Candidates that differ from the typed text, say in case, may have a shorter
                // common prefix.
                if common.len() >= self.cursor - start {
                    self.replace(start, self.cursor, common);
                }
                self.tabbed = true;
            }
        }
    }

    /// Prints the candidates in columns above all rows.
    fn list(&mut self, candidates: &[String], out: &mut Vec<u8>) {
        self.erase(out);
        let names: Vec<String> =
            candidates.iter().take(LIST_MAX).map(|name| shorten(name, self.columns)).collect();
        let pitch = names.iter().map(|name| width(name)).max().unwrap_or(0) + 2;
        for names in names.chunks(((self.columns + 2) / pitch).max(1)) {
            let mut row = String::new();
            for name in names {
                row.push_str(name);
                row.extend(std::iter::repeat_n(' ', pitch - width(name)));
            }
            self.print(row.trim_end(), out);
        }
        if candidates.len() > LIST_MAX {
            self.print(&format!("… +{}", candidates.len() - LIST_MAX), out);
        }
    }

    /// Prints one permanent line at the start of the erased rows.
    fn print(&self, text: &str, out: &mut Vec<u8>) {
        if self.shown {
            out.extend_from_slice(shorten(text, self.columns).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    fn erase(&mut self, out: &mut Vec<u8>) {
        if self.shown {
            self.rewind(out);
            out.extend_from_slice(b"\x1b[J");
        }
    }

    /// Overwrites all rows, which flickers less than erasing first.
    fn redraw(&mut self, out: &mut Vec<u8>) {
        if !self.shown {
            return;
        }
        self.rewind(out);
        for line in &self.status {
            let row = shorten(line, self.columns);
            // Erase first: behind a row as wide as the screen, some terminals would erase its last
            // character.
            out.extend_from_slice(b"\x1b[K");
            out.extend_from_slice(row.as_bytes());
            out.extend_from_slice(b"\r\n");
            self.above.push(width(&row));
        }
        let prompt = shorten(&self.prompt, self.columns / 2);
        // The cursor needs a column behind the last character.
        let room = self.columns - 1 - width(&prompt);
        self.scroll(room);
        out.extend_from_slice(prompt.as_bytes());
        out.extend_from_slice(plain(head(&self.line[self.left..], room)).as_bytes());
        out.extend_from_slice(b"\x1b[J\r");
        self.column = width(&prompt) + width(&self.line[self.left..self.cursor]);
        if self.column > 0 {
            out.extend_from_slice(format!("\x1b[{}C", self.column).as_bytes());
        }
    }

    /// Moves the cursor to the start of the first row. A narrower screen may have wrapped a row
    /// into several.
    fn rewind(&mut self, out: &mut Vec<u8>) {
        let rows = |width: usize| width.div_ceil(self.columns).max(1);
        let up = self.above.iter().map(|width| rows(*width)).sum::<usize>();
        let up = up + self.column / self.columns;
        out.push(b'\r');
        if up > 0 {
            out.extend_from_slice(format!("\x1b[{up}A").as_bytes());
        }
        self.above.clear();
        self.column = 0;
    }

    /// Scrolls the view as little as possible to show the cursor, without empty room behind the
    /// line while its beginning is hidden.
    fn scroll(&mut self, room: usize) {
        let mut left = self.left.min(self.cursor);
        while !self.line.is_char_boundary(left) {
            left -= 1;
        }
        let to_cursor = tail_start(&self.line[..self.cursor], room);
        let to_end = tail_start(&self.line, room);
        self.left = left.max(to_cursor).min(to_end).min(self.cursor);
    }
}

/// The width of a screen of unknown width.
const COLUMNS_UNTOLD: usize = 80;
/// The longest line, in bytes.
const LINE_MAX: usize = 4096;
/// Lines in the history.
const HISTORY_MAX: usize = 500;
/// Candidates that are listed.
const LIST_MAX: usize = 64;

fn width_or_default(columns: usize) -> usize {
    if columns == 0 { COLUMNS_UNTOLD } else { columns }
}

/// The entered lines, and the position in them.
#[derive(Debug, Default)]
struct History {
    lines: VecDeque<String>,
    /// The index of the recalled line, if any.
    at: Option<usize>,
    /// The edited line, while another is recalled.
    draft: String,
}

impl History {
    /// The line before `line`, the visible line.
    fn older(&mut self, line: &str) -> Option<String> {
        let at = self.at.unwrap_or(self.lines.len()).checked_sub(1)?;
        if self.at.is_none() {
            self.draft = line.to_owned();
        }
        self.at = Some(at);
        self.lines.get(at).cloned()
    }

    /// The line after the visible line, and the edited line at last.
    fn newer(&mut self) -> Option<String> {
        let at = self.at? + 1;
        self.at = (at < self.lines.len()).then_some(at);
        match self.at {
            Some(at) => self.lines.get(at).cloned(),
            None => Some(mem::take(&mut self.draft)),
        }
    }

    fn leave(&mut self) {
        self.at = None;
        self.draft.clear();
    }

    fn keep(&mut self, line: &str) {
        self.leave();
        if line.trim().is_empty() || self.lines.back().is_some_and(|last| last == line) {
            return;
        }
        if self.lines.len() == HISTORY_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_owned());
    }
}

/// The start of the character before this offset, with its combining marks.
fn before(line: &str, at: usize) -> usize {
    let found = line[..at].char_indices().rfind(|(_, c)| cells(*c) > 0);
    found.map_or(0, |(start, _)| start)
}

/// The end of the character at this offset, with its combining marks.
fn behind(line: &str, at: usize) -> usize {
    let mut rest = line[at..].char_indices().skip(1);
    let found = rest.find(|(_, c)| cells(*c) > 0);
    found.map_or(line.len(), |(end, _)| at + end)
}

/// The start of the longest tail that fits into `columns`.
fn tail_start(text: &str, columns: usize) -> usize {
    let (mut start, mut used) = (text.len(), 0);
    for (at, c) in text.char_indices().rev() {
        used += cells(c);
        if used > columns {
            break;
        }
        // A mark stays with its character.
        if cells(c) > 0 {
            start = at;
        }
    }
    start
}

/// The start of the last word of the text.
fn word_start(text: &str) -> usize {
    let (mut start, mut quoted) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted && at == start,
            ' ' if !quoted => start = at + 1,
            _ => {}
        }
    }
    start
}

/// The common prefix of two texts.
fn alike<'a>(one: &'a str, other: &str) -> &'a str {
    let mut pairs = one.char_indices().zip(other.chars());
    let end = pairs.find(|((_, a), b)| a != b).map(|((at, _), _)| at);
    &one[..end.unwrap_or(one.len().min(other.len()))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthChar;

    /// A terminal that knows the editor's output, and panics at an unknown control or at a row that
    /// does not fit.
    struct Screen {
        columns: usize,
        rows: Vec<Vec<String>>,
        row: usize,
        column: usize,
    }

    impl Screen {
        fn new(columns: usize) -> Self {
            Self { columns, rows: vec![Vec::new()], row: 0, column: 0 }
        }

        fn write(&mut self, bytes: &[u8]) {
            let text = std::str::from_utf8(bytes).expect("only whole characters are written");
            let mut chars = text.chars();
            while let Some(c) = chars.next() {
                match c {
                    '\r' => self.column = 0,
                    '\n' => {
                        self.row += 1;
                        if self.row == self.rows.len() {
                            self.rows.push(Vec::new());
                        }
                    }
                    '\x1b' => {
                        assert_eq!(chars.next(), Some('['));
                        let mut number = String::new();
                        let last = loop {
                            match chars.next().expect("sequences are written whole") {
                                digit @ '0'..='9' => number.push(digit),
                                last => break last,
                            }
                        };
                        let number = number.parse().unwrap_or(1);
                        match last {
                            'A' => self.row = self.row.checked_sub(number).expect("row is there"),
                            'C' => {
                                self.column += number;
                                assert!(self.column < self.columns, "the cursor left the row");
                            }
                            'H' => (self.row, self.column) = (0, 0),
                            'J' => {
                                self.rows.truncate(self.row + 1);
                                self.rows[self.row].truncate(self.column);
                            }
                            'K' => self.rows[self.row].truncate(self.column),
                            other => panic!("the terminal does not know CSI {other}"),
                        }
                    }
                    c => self.put(c),
                }
            }
        }

        fn put(&mut self, c: char) {
            assert!(!c.is_control(), "{c:?} reached the screen");
            assert!(!"\u{202e}\u{2066}\u{200f}".contains(c), "{c:?} reached the screen");
            let row = &mut self.rows[self.row];
            let wide = c.width().expect("it is printable");
            if wide == 0 {
                if let Some(under) = self.column.checked_sub(1).and_then(|at| row.get_mut(at)) {
                    under.push(c);
                }
                return;
            }
            assert!(self.column + wide <= self.columns, "a row does not fit: {row:?}");
            while row.len() < self.column + wide {
                row.push(" ".to_owned());
            }
            row[self.column] = c.to_string();
            for cell in &mut row[self.column + 1..self.column + wide] {
                cell.clear();
            }
            self.column += wide;
        }

        /// Wraps rows as a terminal does that becomes narrower.
        fn resize(&mut self, columns: usize) {
            let mut rows = Vec::new();
            let mut cursor = (0, 0);
            for (at, row) in self.rows.iter().enumerate() {
                if at == self.row {
                    cursor = (rows.len() + self.column / columns, self.column % columns);
                }
                rows.extend(row.chunks(columns).map(<[String]>::to_vec));
                if row.is_empty() {
                    rows.push(Vec::new());
                }
            }
            (self.row, self.column) = cursor;
            rows.resize(rows.len().max(self.row + 1), Vec::new());
            (self.columns, self.rows) = (columns, rows);
        }

        fn lines(&self) -> Vec<String> {
            let text = |row: &Vec<String>| row.concat().trim_end().to_owned();
            self.rows.iter().map(text).collect()
        }
    }

    /// A shown editor on a screen, with the prompt `> `.
    struct Desk {
        editor: Editor,
        screen: Screen,
        candidates: Vec<String>,
    }

    impl Desk {
        fn new(columns: usize) -> Self {
            let mut desk = Self {
                editor: Editor::new(columns),
                screen: Screen::new(columns),
                candidates: Vec::new(),
            };
            desk.tell(|editor, out| editor.set_prompt("> ", out));
            desk.tell(Editor::show);
            desk
        }

        fn with(columns: usize, candidates: &[&str]) -> Self {
            let mut desk = Self::new(columns);
            desk.candidates = candidates.iter().map(|name| (*name).to_owned()).collect();
            desk
        }

        fn tell(&mut self, what: impl FnOnce(&mut Editor, &mut Vec<u8>)) {
            let mut out = Vec::new();
            what(&mut self.editor, &mut out);
            self.screen.write(&out);
        }

        fn status(&mut self, lines: &[&str]) {
            let lines = lines.iter().map(|line| (*line).to_owned()).collect();
            self.tell(|editor, out| editor.set_status(lines, out));
        }

        /// The candidates are those with the prefix of the last word.
        fn feed(&mut self, bytes: impl AsRef<[u8]>) -> Vec<Edited> {
            let mut out = Vec::new();
            let candidates = &self.candidates;
            let complete = |text: &str| {
                let word = &text[word_start(text)..];
                let fits = |name: &&String| name.starts_with(word);
                candidates.iter().filter(fits).cloned().collect()
            };
            let edited = self.editor.feed(bytes.as_ref(), &complete, &mut out);
            self.screen.write(&out);
            edited
        }

        fn print(&mut self, line: &str) {
            self.tell(Editor::hide);
            self.screen.write(format!("{line}\r\n").as_bytes());
            self.tell(Editor::show);
        }

        fn sees(&self, lines: &[&str]) {
            assert_eq!(self.screen.lines(), lines);
        }

        /// The last row, with `|` at the cursor.
        fn row(&self) -> String {
            assert_eq!(self.screen.row + 1, self.screen.rows.len());
            let row = &self.screen.rows[self.screen.row];
            let (before, behind) = row.split_at(self.screen.column.min(row.len()));
            let missing = self.screen.column - before.len();
            format!("{}{}|{}", before.concat(), " ".repeat(missing), behind.concat())
        }
    }

    fn entered(line: &str) -> Vec<Edited> {
        vec![Edited::Line(line.to_owned())]
    }

    #[test]
    fn a_line_printed_during_typing_keeps_the_edited_line() {
        let mut desk = Desk::new(40);
        desk.status(&["aula1.mp4  45 %", "aula2.mp4  7 %"]);
        desk.feed("get au\x1b[D");
        desk.print("ana came online");
        desk.sees(&["ana came online", "aula1.mp4  45 %", "aula2.mp4  7 %", "> get au"]);
        assert_eq!(desk.row(), "> get a|u");
        desk.feed("x");
        assert_eq!(desk.row(), "> get ax|u");
        assert_eq!(desk.feed("\r"), entered("get axu"));
    }

    #[test]
    fn a_line_is_edited_where_the_cursor_is() {
        let steps = [
            ("abc", "> abc|"),
            ("\x1b[D\x1b[D", "> a|bc"),
            ("X", "> aX|bc"),
            ("\x7f", "> a|bc"),
            ("\x1b[3~", "> a|c"),
            ("\x04", "> a|"),
            ("\x1b[H_", "> _|a"),
            ("\x1bOC", "> _a|"),
            ("\x01\x7f\x1b[D", "> |_a"),
            ("\x05\x1b[3~\x1b[C", "> _a|"),
            (" two  words ", "> _a two  words |"),
            ("\x17", "> _a two  |"),
            ("\x17", "> _a |"),
            ("tail\x1b[D\x1b[D\x0b", "> _a ta|"),
            ("\x1b[D\x15", "> |a"),
            ("\x1b[4~\x1b[1~\x1b[8~\x1b[7~\x1b[F\x1bOH\x1bOF", "> a|"),
        ];
        let mut desk = Desk::new(40);
        for (keys, row) in steps {
            assert_eq!(desk.feed(keys), []);
            assert_eq!(desk.row(), row, "after {keys:?}");
        }
    }

    #[test]
    fn enter_leaves_the_line_on_the_screen_above_the_status() {
        let mut desk = Desk::new(40);
        desk.status(&["busy"]);
        assert_eq!(desk.feed("one\rtw"), entered("one"));
        desk.sees(&["> one", "busy", "> tw"]);
        assert_eq!(desk.feed("o\n"), entered("two"));
        desk.sees(&["> one", "> two", "busy", ">"]);
    }

    #[test]
    fn a_line_feed_right_behind_a_carriage_return_belongs_to_it() {
        let mut desk = Desk::new(40);
        assert_eq!(desk.feed("a\r"), entered("a"));
        assert_eq!(desk.feed("\nb\n"), entered("b"));
        assert_eq!(desk.feed("\n"), entered(""));
        assert_eq!(desk.feed("\r\r"), [entered(""), entered("")].concat());
    }

    #[test]
    fn ctrl_d_ends_only_an_empty_line_and_ctrl_c_drops_any() {
        let mut desk = Desk::new(40);
        assert_eq!(desk.feed("a\x04\x01\x04\x04"), [Edited::End]);
        assert_eq!(desk.feed("half\x03"), [Edited::Interrupt]);
        assert_eq!(desk.row(), "> |");
    }

    #[test]
    fn the_status_grows_and_shrinks_above_the_line() {
        let mut desk = Desk::new(20);
        desk.print("before");
        desk.feed("typed");
        desk.status(&["a", "b", "c"]);
        desk.sees(&["before", "a", "b", "c", "> typed"]);
        desk.status(&["longer than the screen is wide"]);
        desk.sees(&["before", "longer than the scr…", "> typed"]);
        desk.status(&[]);
        desk.sees(&["before", "> typed"]);
        assert_eq!(desk.row(), "> typed|");
    }

    #[test]
    fn a_status_that_stays_the_same_writes_nothing() {
        let mut editor = Editor::new(20);
        let mut out = Vec::new();
        editor.set_status(vec!["a".to_owned()], &mut out);
        assert!(out.is_empty(), "it is not shown yet");
        editor.show(&mut out);
        out.clear();
        editor.set_status(vec!["a".to_owned()], &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn a_hidden_editor_takes_keys_and_writes_nothing() {
        let mut desk = Desk::with(40, &["alpha", "alps"]);
        desk.tell(Editor::hide);
        desk.sees(&[""]);
        assert_eq!(desk.feed("one\r\x0c\x0cal\t\tx"), entered("one"));
        desk.sees(&[""]);
        desk.tell(Editor::show);
        desk.sees(&["> alpx"]);
        desk.tell(Editor::show);
        desk.sees(&["> alpx"]);
    }

    #[test]
    fn a_character_may_arrive_in_fragments() {
        let mut desk = Desk::new(40);
        for byte in "aç講🦀".bytes() {
            desk.feed([byte]);
        }
        assert_eq!(desk.row(), "> aç講🦀|");
        desk.feed("\x1b[D\x1b[D");
        assert_eq!(desk.row(), "> aç|講🦀");
        assert_eq!(desk.screen.column, 4);
    }

    #[test]
    fn invalid_bytes_are_dropped_without_their_neighbours() {
        let mut desk = Desk::new(40);
        desk.feed(b"a\xffb\xc3c\xe8\xacd\x80e\xed\xa0\x80f\xc0\xafg\xc2\x85h\xf0\x9f\xc3\xa7");
        assert_eq!(desk.feed("\r"), entered("abcdefghç"));
    }

    #[test]
    fn a_combining_mark_moves_with_its_character() {
        let mut desk = Desk::new(40);
        desk.feed("ae\u{301}b\x1b[D\x1b[DX");
        assert_eq!(desk.row(), "> aX|e\u{301}b");
        desk.feed("\x1b[C\x7f");
        assert_eq!(desk.row(), "> aX|b");
    }

    #[test]
    fn unknown_sequences_are_ignored_in_any_fragments() {
        let keys = "a\x1b[200~b\x1b[201~\x1b[15;2~\x1b[[A\x1b[?1;2c\x1bOPc\x1bx\x1b(Bd\x1b]0;title\x07e\x1bP1$r\x1b\\f\x1b[<0;3;4M\x1b[1;5Dg";
        let mut desk = Desk::new(40);
        for byte in keys.bytes() {
            desk.feed([byte]);
        }
        assert_eq!(desk.row(), "> abcdeg|f");
        let mut whole = Desk::new(40);
        whole.feed(keys);
        assert_eq!(whole.row(), "> abcdeg|f");
    }

    #[test]
    fn controls_work_within_a_sequence_that_never_ends() {
        for begun in ["\x1b", "\x1b[1;", "\x1bO", "\x1b]0;title"] {
            let mut desk = Desk::new(40);
            desk.feed(format!("a{begun}"));
            assert_eq!(desk.feed("\x03"), [Edited::Interrupt]);
            assert_eq!(desk.feed(format!("b{begun}\r")), entered("b"));
        }
    }

    #[test]
    fn history_keeps_the_edited_line() {
        let mut desk = Desk::new(40);
        desk.feed("\x1b[A\x1b[Bone\rtwo\rtwo\r  \r\rhal");
        for row in ["> two|", "> one|", "> one|"] {
            desk.feed("\x1b[A");
            assert_eq!(desk.row(), row);
        }
        for row in ["> two|", "> hal|", "> hal|"] {
            desk.feed("\x1b[B");
            assert_eq!(desk.row(), row);
        }
        desk.feed("\x1b[A\x1b[A\x03\x1b[A");
        assert_eq!(desk.row(), "> two|", "Ctrl-C leaves the history");
    }

    #[test]
    fn history_forgets_the_oldest_lines() {
        let mut desk = Desk::new(40);
        for number in 0..HISTORY_MAX + 3 {
            desk.feed(format!("{number}\r"));
        }
        desk.feed("\x1b[A".repeat(HISTORY_MAX + 10));
        assert_eq!(desk.row(), "> 3|");
    }

    #[test]
    fn ctrl_l_keeps_only_the_current_rows() {
        let mut desk = Desk::new(40);
        desk.print("old");
        desk.status(&["busy"]);
        desk.feed("half\x0c");
        desk.sees(&["busy", "> half"]);
        assert_eq!(desk.row(), "> half|");
    }

    #[test]
    fn a_long_line_scrolls_within_its_row() {
        let mut desk = Desk::new(10);
        desk.feed("abcdefghij");
        assert_eq!(desk.row(), "> defghij|");
        desk.feed("\x1b[D\x1b[D");
        assert_eq!(desk.row(), "> defgh|ij");
        desk.feed("\x01");
        assert_eq!(desk.row(), "> |abcdefg");
        desk.feed("\x05\x7f\x7f");
        assert_eq!(desk.row(), "> bcdefgh|");
        desk.feed("\x15一二三四五");
        assert_eq!(desk.row(), "> 三四五|", "half a character is not drawn");
    }

    #[test]
    fn a_line_has_a_limit_of_bytes() {
        let mut desk = Desk::with(40, &["name-of-some-length"]);
        let full = "é".repeat(LINE_MAX / 2);
        desk.feed(&full);
        desk.feed("x\x01é");
        assert_eq!(desk.feed("\r"), entered(&full));
        let full = format!("{} n", "y".repeat(LINE_MAX - 2));
        assert_eq!(desk.feed(format!("{full}\t\r")), entered(&full));
    }

    #[test]
    fn tab_completes_the_only_candidate_and_adds_a_blank() {
        let mut desk = Desk::with(40, &["aula1.mp4", "notes.txt", "\"two words\"", "videos/"]);
        desk.feed("get au now\x1b[D\x1b[D\x1b[D\x1b[D\t");
        assert_eq!(desk.row(), "> get aula1.mp4 | now");
        desk.feed("\x15\x0bget \"two w\t\"tw\t");
        assert_eq!(desk.row(), "> get \"two words\" \"two words\" |");
        desk.feed("\x15share v\t");
        assert_eq!(desk.row(), "> share videos/|", "a folder may go on");
        desk.feed("\x15zzz\t\t");
        assert_eq!(desk.row(), "> zzz|");
    }

    #[test]
    fn tab_completes_the_common_prefix_and_then_lists_candidates() {
        let mut desk = Desk::with(20, &["aulá1.mp4", "aulà2.mp4", "aul", "other"]);
        desk.status(&["busy"]);
        desk.feed("get a\t");
        desk.sees(&["busy", "> get aul"]);
        desk.feed("\t");
        desk.sees(&["aulá1.mp4  aulà2.mp4", "aul", "busy", "> get aul"]);
        desk.feed("\x1b[D\x1b[C\t");
        assert_eq!(desk.screen.lines().len(), 4, "other keys make it a first Tab");
    }

    #[test]
    fn completion_never_removes_typed_text() {
        let mut editor = Editor::new(40);
        let mut out = Vec::new();
        let complete = |_: &str| vec!["Aula1".to_owned(), "aula2".to_owned()];
        let edited = editor.feed(b"get aul\t\r", &complete, &mut out);
        assert_eq!(edited, entered("get aul"));
    }

    #[test]
    fn a_list_of_candidates_is_bounded() {
        let names: Vec<String> = (0..LIST_MAX + 7).map(|n| format!("n{n:0>20}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut desk = Desk::with(24, &names);
        desk.feed("\t\t");
        let lines = desk.screen.lines();
        assert_eq!(lines.len(), LIST_MAX + 2);
        assert_eq!(lines[LIST_MAX], "… +7");
    }

    #[test]
    fn a_hostile_name_reaches_the_caller_but_not_the_screen() {
        let evil = "x\x1b[2J\u{9b}\u{202e}\u{2066}\u{200f}\r\ny";
        let mut desk = Desk::with(40, &[evil]);
        let shown = "x\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}y";
        desk.status(&[evil]);
        desk.tell(|editor, out| editor.set_prompt(evil, out));
        desk.sees(&[shown, shown]);
        desk.feed("\x0cx\t");
        desk.sees(&[shown, &format!("{shown}{shown}")]);
        assert_eq!(desk.feed("\r"), entered(&format!("{evil} ")));
        desk.candidates.push(format!("{evil}2"));
        desk.feed("\t\t");
        desk.sees(&[
            &format!("{shown}{shown}"),
            &format!("{shown}   {shown}2"),
            shown,
            &format!("{shown}{shown}"),
        ]);
    }

    #[test]
    fn a_narrower_screen_is_cleaned_up() {
        let mut desk = Desk::new(40);
        desk.print("before");
        desk.status(&["a status that fills more than half", "short"]);
        desk.feed("a line of some length");
        desk.screen.resize(12);
        desk.editor.resize(12);
        desk.tell(Editor::show);
        desk.sees(&["before", "a status th…", "short", "> me length"]);
        desk.screen.resize(40);
        desk.editor.resize(40);
        desk.feed("!");
        desk.sees(&[
            "before",
            "a status that fills more than half",
            "short",
            "> a line of some length!",
        ]);
    }

    #[test]
    fn a_screen_of_hardly_any_columns_works() {
        for columns in [1, 2, 3, 4] {
            let mut desk = Desk::with(columns, &["講義", "講話"]);
            desk.status(&["講義の録画", "x"]);
            desk.feed("講義\x1b[D\x1b[D\t\t\r");
            desk.print("");
            assert_eq!(desk.feed("ab\r"), entered("ab"));
        }
        assert_eq!(Editor::new(0).columns, COLUMNS_UNTOLD);
    }

    /// A pseudo-random generator (xorshift).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % bound as u64) as usize
        }

        fn keys(&mut self) -> Vec<u8> {
            let known = [
                "\x1b[A",
                "\x1b[B",
                "\x1b[C",
                "\x1b[D",
                "\x1b[H",
                "\x1b[3~",
                "\x1b[200~",
                "\r",
                "\t",
                "\t\t",
                "\x7f",
                "\x17",
                "\x15",
                "\x03",
                "講義",
                "e\u{301}",
                "👩\u{200d}🏫",
                "\u{202e}",
                "\u{301}",
                " ",
                "\"",
                "a",
                "ab cd",
                "\x01",
                "\x05",
                "\x0c",
            ];
            let mut keys = Vec::new();
            for _ in 0..self.below(12) {
                if self.below(3) == 0 {
                    keys.push(self.below(256) as u8);
                } else {
                    keys.extend_from_slice(known[self.below(known.len())].as_bytes());
                }
            }
            keys
        }
    }

    #[test]
    fn random_keys_in_random_fragments_never_break_the_screen() {
        let names = ["abc", "ab\x1b[2J", "講義の録画", "\"a b\"", "a\u{301}", "\r\n\u{202e}"];
        for seed in 1..=300 {
            let mut dice = Dice(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
            let columns = 1 + dice.below(40);
            let mut desk = Desk::with(columns, &names);
            let mut whole = Desk::with(columns, &names);
            whole.tell(Editor::hide);
            for step in 0..40 {
                let keys = dice.keys();
                let mut events = Vec::new();
                let mut rest = &keys[..];
                while !rest.is_empty() {
                    let (cut, later) = rest.split_at(1 + dice.below(rest.len()));
                    events.extend(desk.feed(cut));
                    rest = later;
                }
                assert_eq!(events, whole.feed(&keys), "cuts and sight change nothing");
                match dice.below(4) {
                    0 => desk.status(&names[..dice.below(names.len())]),
                    1 => {
                        let columns = 1 + dice.below(40);
                        desk.tell(Editor::hide);
                        desk.screen.resize(columns);
                        desk.editor.resize(columns);
                        desk.tell(Editor::show);
                    }
                    2 => {
                        desk.tell(Editor::hide);
                        let (row, column) = (desk.screen.row, desk.screen.column);
                        assert_eq!((row + 1, column), (desk.screen.rows.len(), 0));
                        assert_eq!(desk.screen.lines()[row], "");
                        let line = (step % 10).to_string();
                        desk.screen.write(format!("{line}\r\n").as_bytes());
                        desk.tell(Editor::show);
                        assert_eq!(desk.screen.lines()[row], line);
                    }
                    _ => {}
                }
                let screen = &desk.screen;
                assert!(screen.column < screen.columns);
                assert_eq!(screen.row + 1, screen.rows.len());
                assert!(screen.rows.iter().all(|row| row.len() <= screen.columns));
            }
        }
    }
}
