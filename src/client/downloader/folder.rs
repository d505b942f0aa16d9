//! GET of a folder: from its providers to a download, and its end.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::client::command::{DownloadTarget, PeerTarget};
use crate::client::downloader::Downloader;
use crate::client::downloader::discovery::{candidate, named_candidate};
use crate::download::folder::FolderRequest;
use crate::download::manager::OtherPlace;
use crate::download::types::{Candidate, FolderOutcome, Outcome};
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::response::Provider;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::{Filesystem, FsError};
use crate::ui::event::{Failure, FolderEvent, UiEvent};

/// A folder whose providers the index has named: the user may have to choose.
pub(super) struct SoughtFolder {
    target: DownloadTarget,
    providers: Vec<Provider>,
}

/// The end of a folder.
pub(super) enum FolderEnd {
    /// Saved, or failed for this reason.
    Over(Option<Failure>),
    /// The user chooses a content, whose download is another one.
    Choice,
    /// A comparison has answered its command.
    Answered,
}

impl Downloader {
    /// Downloads a folder from these providers; each entry is a file of the folder.
    pub(super) fn folder_found(
        &mut self,
        target: DownloadTarget,
        mut providers: Vec<Provider>,
        io: &mut Io<'_>,
    ) {
        let mut seen = BTreeSet::new();
        providers.retain(|provider| seen.insert(provider.peer));
        let sources = providers.iter().cloned().map(candidate).collect();
        if let Some(id) = self.begin_folder(&target, sources, true, io) {
            self.sought.insert(id, SoughtFolder { target, providers });
        }
    }

    /// Downloads a folder from this peer alone.
    pub(super) fn folder_from(
        &mut self,
        target: &DownloadTarget,
        from: PeerTarget,
        io: &mut Io<'_>,
    ) {
        if from.speaks.is_some() {
            let text = "no old wire has folders";
            let error = ErrorReply::new(ErrorCode::Unsupported, text);
            return self.client.fail(&Failure::Refused(error), io);
        }
        let source = named_candidate(target.called(), None, from.at);
        self.begin_folder(target, vec![source], false, io);
    }

    /// Starts the download of a folder. `None` after a failure, which is reported.
    fn begin_folder(
        &mut self,
        target: &DownloadTarget,
        sources: Vec<Candidate>,
        looks: bool,
        io: &mut Io<'_>,
    ) -> Option<u64> {
        match self.start_folder(target, sources, looks, io) {
            Ok(id) => {
                self.client.await_download(id);
                if self.client.config().typed {
                    self.client.prompt(io);
                }
                Some(id)
            }
            Err(failure) => {
                self.client.fail(&failure, io);
                None
            }
        }
    }

    /// Starts the download of a folder for which no command waits.
    pub(super) fn start_folder(
        &mut self,
        target: &DownloadTarget,
        sources: Vec<Candidate>,
        looks: bool,
        io: &mut Io<'_>,
    ) -> Result<u64, Failure> {
        let name = target.called();
        if name.is_hidden() {
            // No peer shares hidden files.
            return Err(Failure::NotFound(name));
        }
        let check = self.config.checks.as_ref().map(|folder| self.open_checked(folder));
        let check = check.transpose()?;
        let place = self.folder_place()?;
        let request = FolderRequest {
            name,
            root: target.root,
            sources,
            retry_policy: self.config.retry_policy,
            jobs: self.list.at_a_time().max(1),
            looks,
            check,
        };
        Ok(self.downloads.begin_folder(request, place, &self.storage, io))
    }

    /// The local folder that is compared with a list.
    fn open_checked(&self, folder: &str) -> Result<Rc<dyn Filesystem>, Failure> {
        (self.client.config().open_folder)(folder).map_err(|error| match error {
            FsError::NoFolder => Failure::NoFolder(folder.to_owned()),
            error => Failure::Disk(format!("{folder}: {error}")),
        })
    }

    /// The place of a folder: that of all downloads where these keep their folders.
    fn folder_place(&self) -> Result<Option<OtherPlace>, Failure> {
        if self.storage.keeps_folders() || self.config.checks.is_some() {
            return Ok(None);
        }
        let folder = self.config.folder.clone();
        let storage =
            self.open_folder(&folder).map_err(|error| Failure::Disk(error.to_string()))?;
        let storage = Rc::new(storage.keeping_folders(true));
        Ok(Some(OtherPlace { storage, folder }))
    }

    /// Goes on with folders, and reports files and folders that have ended. Called after each event.
    pub(crate) fn run_folders(&mut self, io: &mut Io<'_>) {
        while let Some(ended) = self.downloads.run_folders(&self.storage, io) {
            self.download_ended(ended, io);
        }
    }

    /// A folder is over.
    pub(super) fn folder_ended(
        &mut self,
        id: u64,
        name: &RelativeName,
        outcome: FolderOutcome,
        io: &mut Io<'_>,
    ) -> FolderEnd {
        let sought = self.sought.remove(&id);
        match outcome {
            FolderOutcome::Saved(summary) => {
                let folder = self.config.folder.clone();
                let event = FolderEvent::Saved { name: name.clone(), folder, summary };
                io.tell(UiEvent::Folder(Box::new(event)));
                FolderEnd::Over(None)
            }
            FolderOutcome::Checked(code) => {
                self.client.finish(code, io);
                FolderEnd::Answered
            }
            FolderOutcome::Choice(versions) => {
                let Some(SoughtFolder { target, providers }) = sought else {
                    // No user waits for a folder of the queue.
                    return FolderEnd::Over(Some(Failure::Ambiguous(name.clone())));
                };
                self.client.offer_choice(target, versions, providers, io);
                FolderEnd::Choice
            }
            FolderOutcome::Failed(failure) => {
                io.tell(UiEvent::Stopped(name.clone()));
                io.tell(UiEvent::Failed(failure.clone()));
                FolderEnd::Over(Some(failure))
            }
        }
    }

    /// The event for a file of a folder: quieter than that of a file alone.
    pub(super) fn file_event(
        name: RelativeName,
        folder: String,
        outcome: &Outcome,
    ) -> Option<UiEvent> {
        let event = match *outcome {
            Outcome::Saved { size, from, root, .. } => {
                FolderEvent::File { name, folder, size, from, root }
            }
            Outcome::Same => FolderEvent::Same { name },
            _ => return None,
        };
        Some(UiEvent::Folder(Box::new(event)))
    }
}
