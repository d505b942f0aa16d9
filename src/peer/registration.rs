//! Registration in the index: JOIN in parts, UPDATE, LEAVE, and recovery after an error or a lost connection.

use std::net::SocketAddr;

use crate::client::server_connection::{Joining, LostConnection};
use crate::limits;
use crate::node::CloseReason;
use crate::node::io::Io;
use crate::peer::config::Task;
use crate::peer::runner::Running;
use crate::peer::server_requests::PendingRequest;
use crate::peer::{Peer, Shutdown};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::native::Message;
use crate::protocol::request::{Join, Request};
use crate::protocol::response::Response;
use crate::protocol::types::account::Method;
use crate::storage::fs_trait::FsError;
use crate::ui::event::{Failure, UiEvent};

impl Peer {
    /// JOIN. Its next part, when the server and the list of files are there.
    pub(super) fn send_join(&mut self, io: &mut Io<'_>) {
        let (part, after) = match &self.home.joining {
            Joining::Wanted
                if !self.share.scanning && self.home.is_open() && self.account.is_settled() =>
            {
                (0, None)
            }
            Joining::Sending { part, after } => (*part, after.clone()),
            _ => return,
        };
        let (Some(listening), Some(ports)) = (self.ports.usual, self.spoken()) else { return };
        let mut files = Vec::new();
        let mut bytes = 0;
        let mut more = false;
        for file in self.library.files_after(after.as_ref()) {
            bytes += file.name.len() * 2 + 40;
            if files.len() == limits::JOIN_PART_FILES || bytes > limits::JOIN_PART_BYTES {
                more = true;
                break;
            }
            files.push(file);
        }
        let last = files.last().map(|file| file.name.clone()).or(after);
        let (port, advertise) = self.advertised(listening);
        let join = Join {
            port: Some(port),
            advertise,
            session: self.home.session,
            part,
            more,
            files,
            ports,
            quic: self.ports.quic,
        };
        if let Some(ask) = self.home.ask(&Request::Join(join), io) {
            self.requests.insert(ask, PendingRequest::Join);
            self.home.joining = Joining::Sending { part: part + 1, after: last };
            // What arrived before this JOIN is in it.
            if part == 0 {
                self.news.clear();
            }
        }
    }

    pub(super) fn advertised(&self, listening: SocketAddr) -> (u16, Option<SocketAddr>) {
        match self.options.advertise {
            Some((ip, port)) => {
                let port = port.unwrap_or(listening.port());
                (port, Some(SocketAddr::new(ip, port)))
            }
            None if listening.ip().is_unspecified() => (listening.port(), None),
            None => (listening.port(), Some(listening)),
        }
    }

    /// Reads what the server said.
    pub(super) fn hear_home(&mut self, io: &mut Io<'_>) {
        loop {
            match self.home.next(io) {
                Ok(None) => return,
                Ok(Some(Message::Welcome(_))) => {
                    if self.home.is_found_again()
                        && let Some(server) = self.home.server()
                    {
                        io.tell(UiEvent::ServerFound(server));
                    }
                    self.show_who(io);
                    self.send_join(io);
                    self.errand_server_is_here(io);
                }
                Ok(Some(Message::Reply(id, reply))) => match self.requests.remove(id) {
                    Some(PendingRequest::Join) => self.join_answered(&reply, io),
                    Some(PendingRequest::Update) => self.update_answered(io),
                    Some(PendingRequest::Leave) => self.left(io),
                    Some(PendingRequest::Connect) => self.connected_as(io),
                    Some(PendingRequest::Register) => self.registered(io),
                    Some(PendingRequest::Errand) => self.errand_answered(reply, io),
                    Some(PendingRequest::Watch) => {
                        self.requests.is_subscribed = reply == Response::Subscribed
                    }
                    Some(PendingRequest::Look(id)) => {
                        if let Response::Found { holders, .. } = reply {
                            self.more_found(id, holders, io);
                        }
                    }
                    None => {}
                },
                Ok(Some(Message::Error(id, refusal))) => {
                    let why = id.and_then(|id| self.requests.remove(id));
                    self.home_refused(why, refusal, io);
                }
                Ok(Some(Message::Event(..))) => self.errand_hears(io),
                Ok(Some(Message::Waiting(..) | Message::Have(_) | Message::Unknown)) => {}
                Err(text) => {
                    self.home.close(io);
                    return self.home_lost(
                        &CloseReason::Internal(text.clone()),
                        Some(Failure::Protocol(text)),
                        io,
                    );
                }
            }
        }
    }

    pub(super) fn home_refused(
        &mut self,
        why: Option<PendingRequest>,
        refusal: ErrorReply,
        io: &mut Io<'_>,
    ) {
        let retry = refusal.code.retry();
        match why {
            Some(PendingRequest::Join) if self.acts.is_joining() => {
                self.fail(&Failure::Refused(refusal), io)
            }
            Some(PendingRequest::Join) => {
                // Our own earlier link may still be held for alive: it will be found dead soon. Another peer may hold the address for days: that is told once.
                if self.home.is_new_refusal(&refusal) || !retry {
                    io.tell(UiEvent::Failed(Failure::Refused(refusal.clone())));
                }
                self.home.joining = if retry { Joining::Wanted } else { Joining::Unwanted };
                if self.options.once || !retry {
                    return self.join_failed(&Failure::Refused(refusal), io);
                }
                self.home.retreat(io);
                self.forget_asked();
            }
            Some(PendingRequest::Connect) => self.connect_refused(refusal, io),
            Some(PendingRequest::Register) => {
                self.nobody(&Failure::Operation(Method::Register, refusal), io)
            }
            Some(PendingRequest::Errand) => match &self.commands.running {
                Some(Running::Ask { request: Request::Operation(operation), .. }) => {
                    self.fail(&Failure::Operation(operation.op.method(), refusal), io)
                }
                _ => self.fail(&Failure::Refused(refusal), io),
            },
            Some(PendingRequest::Watch) => {
                log::debug!("this server tells nobody of what comes: {}", refusal.text)
            }
            Some(PendingRequest::Look(_)) => log::debug!("no more sources: {}", refusal.text),
            Some(PendingRequest::Update) if refusal.code == ErrorCode::NotJoined => {
                // The server has put us out, with our account for one: we join again, but not without rest.
                self.home.joining = Joining::Wanted;
                self.home.retreat(io);
                self.forget_asked();
                self.update_answered(io);
            }
            Some(PendingRequest::Update) => self.update_answered(io),
            Some(PendingRequest::Leave) => self.left(io),
            None => log::warn!("the server says: {} ({})", refusal.text, refusal.code.as_str()),
        }
    }

    pub(super) fn join_failed(&mut self, failure: &Failure, io: &mut Io<'_>) {
        if self.acts.is_under_way() {
            return self.fail(failure, io);
        }
        match self.options.task {
            // What was to be done once was to be done by that user.
            Task::Serve { .. } | Task::Once(_) => self.end(failure.code(), io),
            Task::Menu => {
                self.commands.running = None;
                self.prompt(io);
            }
        }
    }

    /// The link on which these were asked is gone: nothing comes back, and what still waits for its answer asks again.
    pub(super) fn forget_asked(&mut self) {
        self.requests.clear();
        self.account.lost();
        self.traffic_is_new();
        if let Some(
            Running::Ask { sent, .. } | Running::Seek { sent, .. } | Running::Roots { sent, .. },
        ) = &mut self.commands.running
        {
            *sent = false;
        }
    }

    pub(super) fn home_lost(
        &mut self,
        cause: &CloseReason,
        failure: Option<Failure>,
        io: &mut Io<'_>,
    ) {
        self.forget_asked();
        if self.ending.is_some() {
            return;
        }
        let server = self.home.server();
        let LostConnection::Resting(is_news) = self.home.lost(io) else { return };
        if self.commands.running == Some(Running::Telling) {
            // The next JOIN tells it.
            self.done(io);
        }
        let failure = failure.unwrap_or_else(|| match cause {
            CloseReason::Internal(_) => Failure::Disk(FsError::Descriptors.to_string()),
            _ => Failure::NoServer(server),
        });
        let never_waits = self.options.once
            || (matches!(self.options.task, Task::Once(_))
                && self.commands.running.as_ref().is_some_and(|e| !e.is_patient()));
        if never_waits && self.commands.running.as_ref().is_none_or(Running::needs_server) {
            io.tell(UiEvent::Failed(failure.clone()));
            return self.end(failure.code(), io);
        }
        if matches!(self.home.joining, Joining::Unwanted)
            && self.commands.running.as_ref().is_none_or(|errand| !errand.needs_server())
        {
            // Nobody needs a server now; the next command that does will look for it.
            return self.home.close(io);
        }
        if let Some(server) = self.home.server().filter(|_| is_news) {
            io.tell(UiEvent::ServerLost { server, why: in_words(cause) });
        }
        let person_waits = self.options.typed
            && self
                .commands
                .running
                .as_ref()
                .is_some_and(|errand| errand.needs_server() && *errand != Running::Join);
        if person_waits || self.acts.is_under_way() {
            self.fail(&failure, io);
        } else if self.options.typed && self.commands.running == Some(Running::Join) {
            self.done(io);
        }
    }

    /// UPDATE. Tells the index what has arrived or changed, if it is to know.
    pub(super) fn send_news(&mut self, io: &mut Io<'_>) {
        if !matches!(self.home.joining, Joining::Joined(_))
            || !self.home.is_open()
            || self.requests.has(&PendingRequest::Update)
        {
            return;
        }
        let Some((files, remove)) = self.news.next_part() else { return };
        if let Some(ask) = self.home.ask(&Request::Update { files, remove }, io) {
            self.requests.insert(ask, PendingRequest::Update);
        }
    }

    /// Asks whether we are still in the index: a server that wants accounts has put us out with ours.
    pub(super) fn look_whether_joined(&mut self, io: &mut Io<'_>) {
        if !matches!(self.home.joining, Joining::Joined(_))
            || self.requests.has(&PendingRequest::Update)
        {
            return;
        }
        if let Some(ask) =
            self.home.ask_if_open(&Request::Update { files: Vec::new(), remove: Vec::new() }, io)
        {
            self.requests.insert(ask, PendingRequest::Update);
        }
    }

    pub(super) fn update_answered(&mut self, io: &mut Io<'_>) {
        self.news.part_told();
        self.send_news(io);
        if self.commands.running == Some(Running::Quit) {
            return self.try_quit(io);
        }
        if self.news.is_empty() && self.commands.running == Some(Running::Telling) {
            self.done(io);
        }
    }

    pub(super) fn left(&mut self, io: &mut Io<'_>) {
        if let Some(Shutdown { code, .. }) = self.ending {
            return io.exit(code);
        }
        self.home.joining = Joining::Unwanted;
        io.tell(UiEvent::Left);
        self.done(io);
    }
}

/// Why a server was lost, for a person.
fn in_words(cause: &CloseReason) -> String {
    match cause {
        CloseReason::Unreachable(text) | CloseReason::Internal(text) | CloseReason::Disk(text) => {
            text.clone()
        }
        CloseReason::Timeout => "no answer".into(),
        CloseReason::Done | CloseReason::Remote | CloseReason::SourceChanged => "link lost".into(),
    }
}
