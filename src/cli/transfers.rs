//! `cardume transfers` and the commands beside it: a request to a running peer of this user.

use std::io;
use std::time::Duration;

use cardume::os::control::{self, RunningPeer};
use cardume::protocol::control::{
    ANSWER_BYTES, BATCH, ControlAnswer, ControlRequest, Selection, WantedName,
};
use cardume::protocol::error::{ErrorCode, ErrorReply};
use cardume::ui::event::{Failure, UiEvent, exit};
use cardume::ui::lang::Lang;
use cardume::ui::text::{self, Output};

use crate::cli::args::transfers::{
    AddArgs, BlockArgs, HistoryArgs, LimitArgs, RunningPeerArgs, SelectArgs, TransfersArgs,
};
use crate::cli::{Exit, Outputs, get_list, json_output, shown_path};

/// How long a peer may take: one that copies a file is late.
const PATIENCE: Duration = Duration::from_secs(10);

/// TRANSFERS.
pub fn transfers(args: &TransfersArgs, lang: Lang, outputs: &Outputs) -> Result<i32, Exit> {
    let mut answer = ask(&ControlRequest::Transfers, &mut find(&args.peer)?, outputs)?;
    if let ControlAnswer::Transfers { lines, .. } = &mut answer {
        lines.retain(|line| match line.upload {
            true => !args.downloads,
            false => !args.uploads,
        });
    }
    tell(answer, &args.peer, lang, outputs)
}

/// ADD, in batches.
pub fn add(args: &AddArgs, lang: Lang, outputs: &Outputs) -> Result<i32, Exit> {
    let targets = get_list::targets(&args.names, args.input.as_deref())?;
    let wanted: Vec<WantedName> = targets.iter().map(WantedName::from).collect();
    let mut peer = find(&args.peer)?;
    for batch in wanted.chunks(BATCH) {
        let (wanted, from, paused) = (batch.to_vec(), args.from, args.paused);
        let answer = ask(&ControlRequest::Add { wanted, from, paused }, &mut peer, outputs)?;
        tell(answer, &args.peer, lang, outputs)?;
    }
    Ok(exit::DONE)
}

/// PAUSE, RESUME, CANCEL or TOP.
pub fn select(
    args: SelectArgs,
    request: fn(Selection) -> ControlRequest,
    lang: Lang,
    outputs: &Outputs,
) -> Result<i32, Exit> {
    let of = if args.all { Selection::All } else { Selection::Words(args.which) };
    one(&request(of), &args.peer, lang, outputs)
}

/// LIMIT.
pub fn limit(args: &LimitArgs, lang: Lang, outputs: &Outputs) -> Result<i32, Exit> {
    let request = ControlRequest::Limit { up: args.up, down: args.down };
    one(&request, &args.peer, lang, outputs)
}

/// BLOCK.
pub fn block(args: BlockArgs, lang: Lang, outputs: &Outputs) -> Result<i32, Exit> {
    one(&ControlRequest::Block { subject: args.subject }, &args.peer, lang, outputs)
}

/// ALLOW.
pub fn allow(args: BlockArgs, lang: Lang, outputs: &Outputs) -> Result<i32, Exit> {
    one(&ControlRequest::Allow { subject: args.subject }, &args.peer, lang, outputs)
}

/// BLOCKED.
pub fn blocked(args: &RunningPeerArgs, lang: Lang, outputs: &Outputs) -> Result<i32, Exit> {
    one(&ControlRequest::Blocked, args, lang, outputs)
}

/// HISTORY.
pub fn history(args: &HistoryArgs, lang: Lang, outputs: &Outputs) -> Result<i32, Exit> {
    one(&ControlRequest::History { most: args.lines }, &args.peer, lang, outputs)
}

/// Carries out a single request.
fn one(
    request: &ControlRequest,
    args: &RunningPeerArgs,
    lang: Lang,
    outputs: &Outputs,
) -> Result<i32, Exit> {
    let answer = ask(request, &mut find(args)?, outputs)?;
    tell(answer, args, lang, outputs)
}

/// Finds the running peer: by its state folder, by its number, or as the only one.
fn find(args: &RunningPeerArgs) -> Result<RunningPeer, Exit> {
    let failed = |error: io::Error| {
        Exit::Failure(Failure::Disk(format!("the control socket of the peer: {error}")))
    };
    if let Some(folder) = &args.state {
        let shown = shown_path(folder);
        return control::in_state_folder(folder).map_err(failed)?.ok_or_else(|| {
            Exit::new(exit::NOT_FOUND, format!("no peer runs with the state folder {shown}"))
        });
    }
    let mut running = control::running(args.process).map_err(failed)?;
    if running.len() > 1 {
        let numbers: Vec<String> =
            running.iter().filter_map(|peer| peer.process).map(|n| n.to_string()).collect();
        let text = format!(
            "several peers run: choose one by --state DIR or --process {}",
            numbers.join("|")
        );
        return Err(Exit::new(exit::USAGE, text));
    }
    running.pop().ok_or_else(|| {
        Exit::new(
            exit::NOT_FOUND,
            "no peer of this user runs; start one by cardume peer --state DIR",
        )
    })
}

fn ask(
    request: &ControlRequest,
    peer: &mut RunningPeer,
    outputs: &Outputs,
) -> Result<ControlAnswer, Exit> {
    let patience = outputs.time_limit.unwrap_or(PATIENCE);
    let line = peer.ask(&request.encode(), ANSWER_BYTES, patience).map_err(|error| {
        let text = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                "the running peer does not answer in time".to_owned()
            }
            _ => format!("the running peer does not answer: {error}"),
        };
        Exit::new(exit::UNREACHABLE, text)
    })?;
    let answer =
        ControlAnswer::decode(&line).map_err(|why| Exit::Failure(Failure::Protocol(why)))?;
    let ControlAnswer::Failed { code, text } = answer else { return Ok(answer) };
    Err(match ErrorCode::parse(&code) {
        ErrorCode::BadRequest | ErrorCode::BadName => Exit::new(exit::USAGE, text),
        ErrorCode::TooLarge => Exit::new(exit::REFUSED, text),
        ErrorCode::NotFound => Exit::new(exit::NOT_FOUND, text),
        code => Exit::Failure(Failure::Refused(ErrorReply::new(code, text))),
    })
}

/// Prints an answer.
fn tell(
    answer: ControlAnswer,
    args: &RunningPeerArgs,
    lang: Lang,
    outputs: &Outputs,
) -> Result<i32, Exit> {
    let event = UiEvent::Control(Box::new(answer));
    if args.json {
        for object in json_output::objects(&event) {
            outputs.out.put(format!("{object}\n").as_bytes());
        }
        return Ok(exit::DONE);
    }
    let (line, note) = match text::say(&event, lang) {
        Output::Line(line) => (line, String::new()),
        Output::Answer { line, note } => (line, note),
        Output::Note(note) => (String::new(), note),
        Output::Prompt(_) | Output::Silent => return Ok(exit::DONE),
    };
    if !line.is_empty() {
        outputs.out.put(format!("{line}\n").as_bytes());
    }
    if !note.is_empty() && !outputs.quiet {
        outputs.err.put(format!("{note}\n").as_bytes());
    }
    Ok(exit::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_of_a_path_reaches_the_terminal() {
        let state = Some("/nowhere/\u{1b}[31m".into());
        let found = find(&RunningPeerArgs { state, process: None, json: false });
        let Err(Exit::Other(code, text)) = found else { panic!("no peer runs there") };
        assert!(code == exit::NOT_FOUND && !text.contains(char::is_control), "{text:?}");
    }
}
