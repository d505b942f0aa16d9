//! Questions before the loop begins: the address on which a server listens. A wrong answer is asked
//! for again; Ctrl-C and Ctrl-D cancel a question.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicBool;

use cardume::os::net::address;
use cardume::os::stdio::StdStreams;
use cardume::os::terminal::{self, RawMode, TerminalInput};
use cardume::ui::event::exit;
use cardume::ui::lang::Lang;
use cardume::ui::text::catalog;
use cardume::ui::text::catalog::{ListenQuestion, SetupNote};

use crate::cli::Exit;
use crate::cli::term::line_editor::{Edited, Editor};

/// Asks for IP and port; Enter takes the default. A cancelled question leads back to the previous
/// one, and cancelling the first ends the program.
pub fn where_to_listen(lang: Lang, err: &StdStreams) -> Result<SocketAddr, Exit> {
    let mut person = Person::new(err);
    let ListenQuestion { port: port_word, no_ip, no_port } = catalog(lang).listen_question();
    loop {
        let ip = person.ask("IP [127.0.0.1]: ", no_ip, |text| match text {
            "" => Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)),
            text => address::read_ip(text),
        });
        let Some(ip) = ip else {
            return Err(Exit::Other(
                exit::INTERRUPTED,
                catalog(lang).setup(&SetupNote::NotStarted),
            ));
        };
        let port = person.ask(&format!("{port_word} [1099]: "), no_port, |text| match text {
            "" => Some(1099),
            text => text.parse::<u16>().ok().filter(|port| *port != 0),
        });
        if let Some(port) = port {
            let mut at = ip;
            at.set_port(port);
            return Ok(at);
        }
    }
}

/// The user at the terminal.
struct Person<'a> {
    err: &'a StdStreams,
    /// `None` on a terminal without escapes, which edits lines by itself.
    editor: Option<(Editor, RawMode)>,
    stopped: std::sync::Arc<AtomicBool>,
    typed: Vec<u8>,
    ended: bool,
}

impl Person<'_> {
    fn new(err: &StdStreams) -> Person<'_> {
        let raw = if terminal::is_watched() && !terminal::is_dumb() {
            RawMode::of_question().ok()
        } else {
            None
        };
        let stopped = terminal::note_stops();
        Person {
            err,
            editor: raw.map(|raw| (Editor::new(terminal::columns()), raw)),
            stopped,
            typed: Vec::new(),
            ended: false,
        }
    }

    /// Asks until the answer is valid; `None` when the question is cancelled.
    fn ask<T>(&mut self, prompt: &str, wrong: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        loop {
            let line = self.line(prompt)?;
            let line = line.trim();
            match read(line) {
                Some(answer) => return Some(answer),
                None => self.put(
                    format!("{}: {wrong}\n", cardume::protocol::types::file_name::printable(line))
                        .as_bytes(),
                ),
            }
        }
    }

    fn put(&self, bytes: &[u8]) {
        self.err.put(bytes);
        self.err.flush();
    }

    fn line(&mut self, prompt: &str) -> Option<String> {
        if self.ended {
            return None;
        }
        let mut drawn = Vec::new();
        match &mut self.editor {
            Some((editor, _)) => {
                editor.resize(terminal::columns());
                editor.set_prompt(prompt, &mut drawn);
                editor.show(&mut drawn);
            }
            None => drawn.extend_from_slice(prompt.as_bytes()),
        }
        self.put(&drawn);
        loop {
            if let Some(line) = self.next_line() {
                return line;
            }
            let TerminalInput::Some(bytes) = terminal::wait(&self.stopped) else {
                // Ctrl-D on a terminal that edits by itself cancels one question. A signal, or a
                // closed terminal, cancels all.
                self.ended = true;
                self.hide();
                return None;
            };
            self.typed.extend(bytes);
        }
    }

    /// The next typed line; `Some(None)`: the question is cancelled.
    fn next_line(&mut self) -> Option<Option<String>> {
        let Some((editor, _)) = &mut self.editor else {
            let end = self.typed.iter().position(|byte| *byte == b'\n')?;
            let line: Vec<u8> = self.typed.drain(..=end).collect();
            return Some(Some(String::from_utf8_lossy(&line).into_owned()));
        };
        let (mut drawn, mut taken, mut done) = (Vec::new(), 0, None);
        // Byte by byte: input that is typed ahead belongs to the next question.
        for byte in &self.typed {
            taken += 1;
            done = match editor.feed(&[*byte], &|_| Vec::new(), &mut drawn).pop() {
                Some(Edited::Line(line)) => Some(Some(line)),
                Some(Edited::End | Edited::Interrupt) => Some(None),
                None => continue,
            };
            editor.hide(&mut drawn);
            break;
        }
        self.typed.drain(..taken);
        self.put(&drawn);
        done
    }

    fn hide(&mut self) {
        if let Some((editor, _)) = &mut self.editor {
            let mut drawn = Vec::new();
            editor.hide(&mut drawn);
            self.put(&drawn);
        }
    }
}
