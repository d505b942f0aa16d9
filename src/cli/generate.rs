//! Completions and man pages, made from the definitions of the command line.

use cardume::os::stdio::StdStreams;
use cardume::ui::event::exit;
use cardume::ui::lang::Lang;

use crate::cli::Exit;
use crate::cli::complete;
use crate::cli::translate;

/// Prints the completions of a shell.
pub fn completions(shell: clap_complete::Shell, lang: Lang, out: &StdStreams) {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut translate::command(lang), "cardume", &mut text);
    text.extend_from_slice(complete::script(shell).as_bytes());
    out.put(translate::frame(String::from_utf8_lossy(&text).into_owned(), lang).as_bytes());
}

/// Prints a man page.
pub fn man(command: Option<&str>, lang: Lang, out: &StdStreams) -> Result<(), Exit> {
    let program = translate::command(lang);
    let page = match command {
        None => program,
        Some(name) => {
            let found = program.find_subcommand(name).cloned();
            found
                .map(|sub| sub.name(format!("cardume-{name}")))
                .ok_or_else(|| Exit::new(exit::USAGE, format!("{name}: no such command")))?
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page)
        .render(&mut text)
        .map_err(|error| Exit::new(exit::FAULT, error.to_string()))?;
    out.put(translate::frame(String::from_utf8_lossy(&text).into_owned(), lang).as_bytes());
    Ok(())
}
