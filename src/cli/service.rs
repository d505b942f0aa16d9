//! A process as a service: its service manager, the settings that it reads again, and its hooks.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cardume::os::hooks::{HookCall, HookRunner};
use cardume::os::service_manager::ServiceManager;
use cardume::protocol::types::ids::ContentHash;
use cardume::protocol::types::relative_path::RelativeName;
use cardume::ui::event::{FolderEvent, UiEvent};
use serde_json::{Map, Value, json};

use crate::cli::args::hooks::HookArgs;
use crate::cli::journal::Journal;
use crate::cli::reload::{ReloadOutcome, Reloader};

/// The start of the variables of a hook. No flag begins like this: a hook may call this program.
const VARIABLES: &str = "CARDUME_HOOK_";

/// The service side of a process.
pub struct Service {
    journal: Journal,
    manager: Option<ServiceManager>,
    reloader: Option<Reloader>,
    hooks: Option<Hooks>,
    is_ready: bool,
    /// The next sign of life.
    alive_at: Option<Instant>,
}

/// The hooks of a peer.
pub struct Hooks {
    args: HookArgs,
    runner: HookRunner,
}

impl Hooks {
    /// The hooks of these arguments.
    pub fn new(args: HookArgs) -> Hooks {
        Hooks { runner: HookRunner::new(args.patience()), args }
    }

    fn replace(&mut self, args: HookArgs) {
        self.runner.set_patience(args.patience());
        self.args = args;
    }

    fn record(&mut self, event: &UiEvent) {
        let Some((program, facts)) = self.call_of(event) else { return };
        let Value::Object(facts) = facts else { return };
        let variables = variables(&facts);
        let json = format!("{}\n", Value::Object(facts));
        self.runner.call(HookCall { program, json, variables });
    }

    /// The program for an event, and the facts.
    fn call_of(&self, event: &UiEvent) -> Option<(PathBuf, Value)> {
        let HookArgs { on_download, on_upload, .. } = &self.args;
        let download = |name: &RelativeName, folder, size, from, root| {
            let program = on_download.clone()?;
            Some((program, downloaded(name.as_str(), folder, size, from, root)))
        };
        match event {
            UiEvent::Saved { name, folder, size, from, root } => {
                download(name, folder, *size, *from, *root)
            }
            UiEvent::Unverified { name, folder, size, from, .. } => {
                download(name, folder, *size, *from, None)
            }
            UiEvent::Folder(event) => match &**event {
                FolderEvent::File { name, folder, size, from, root } => {
                    download(name, folder, *size, *from, Some(*root))
                }
                _ => None,
            },
            UiEvent::Uploaded { name, to, size } => {
                let facts = json!({"event": "upload", "name": name.as_str(), "size": size,
                    "peer": to.to_string()});
                Some((on_upload.clone()?, facts))
            }
            _ => None,
        }
    }
}

/// The facts of a download.
fn downloaded(
    name: &str,
    folder: &str,
    size: u64,
    from: SocketAddr,
    root: Option<ContentHash>,
) -> Value {
    json!({"event": "download", "name": name, "path": absolute(folder, name), "size": size,
        "peer": from.to_string(), "root": root.map(|root| root.to_string())})
}

/// The path of a downloaded file.
fn absolute(folder: &str, name: &str) -> String {
    let path = Path::new(folder).join(name);
    let path = std::path::absolute(&path).unwrap_or(path);
    path.to_string_lossy().into_owned()
}

/// The facts as variables. A fact that is unknown has none.
fn variables(facts: &Map<String, Value>) -> Vec<(String, String)> {
    let known = facts.iter().filter(|(_, value)| !value.is_null());
    known
        .map(|(key, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (format!("{VARIABLES}{}", key.to_ascii_uppercase()), text)
        })
        .collect()
}

impl Service {
    /// The service side of this process.
    pub fn new(journal: Journal, reloader: Option<Reloader>, hooks: Option<Hooks>) -> Service {
        let manager = ServiceManager::of_process();
        Service { journal, manager, reloader, hooks, is_ready: false, alive_at: None }
    }

    /// Reads the settings of the process again.
    pub fn reloader(&mut self) -> Option<&mut Reloader> {
        self.reloader.as_mut()
    }

    /// Write a note to the log; false where notes go to stderr as they are.
    pub fn note(&self, text: &str) -> bool {
        self.journal.note(text)
    }

    /// Take part in an event.
    pub fn record(&mut self, event: &UiEvent) {
        if let (Some(manager), UiEvent::Listening(at)) = (&self.manager, event) {
            manager.status(&format!("listening on {at}"));
        }
        if let Some(hooks) = &mut self.hooks {
            hooks.record(event);
        }
    }

    /// Read the settings again. Returns the changes, and a line for each.
    pub fn reload(&mut self) -> Option<ReloadOutcome> {
        let reloader = self.reloader.as_mut()?;
        if let Some(manager) = &self.manager {
            manager.reloading();
        }
        let mut outcome = reloader.reload(&self.journal);
        if let (Some(hooks), Some(args)) = (&mut self.hooks, outcome.hooks.take()) {
            hooks.replace(args);
        }
        if let Some(manager) = &self.manager {
            manager.ready();
        }
        Some(outcome)
    }

    /// Answer `cardume reload`, after the log has the lines.
    pub fn answer(&self, outcome: &ReloadOutcome) {
        if let Some(reloader) = &self.reloader {
            reloader.answer(outcome.code, &outcome.lines);
        }
    }

    /// A hook may have ended.
    pub fn child_ended(&mut self, now: Instant) {
        if let Some(hooks) = &mut self.hooks {
            hooks.runner.child_ended(now);
        }
    }

    /// Work in the background. Returns when to call again, at the latest.
    pub fn work(&mut self, now: Instant) -> Option<Instant> {
        if let Some(manager) = &self.manager {
            if !self.is_ready {
                manager.ready();
                self.alive_at = manager.watchdog().map(|_| now);
            }
            if self.alive_at.is_some_and(|at| at <= now) {
                manager.alive();
                self.alive_at = manager.watchdog().map(|every| now + every);
            }
        }
        self.is_ready = true;
        let hooks = self.hooks.as_mut().and_then(|hooks| hooks.runner.work(now));
        [self.alive_at, hooks].into_iter().flatten().min()
    }

    /// The process ends.
    pub fn close(&mut self) {
        if let Some(manager) = &self.manager {
            manager.stopping();
        }
    }
}
