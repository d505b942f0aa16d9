//! Progress of a download: bytes arrived, bytes reported, and why nothing arrives.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::limits;
use crate::node::io::Io;
use crate::protocol::types::relative_path::RelativeName;
use crate::ui::event::{UiEvent, WaitReason};

/// Why nothing arrives, as last told.
#[derive(Default)]
pub(super) struct WaitState(Option<WaitReason>);

impl WaitState {
    pub fn reason(&self) -> Option<&WaitReason> {
        self.0.as_ref()
    }

    /// Tells a reason once.
    pub fn tell(&mut self, name: &RelativeName, why: WaitReason, io: &mut Io<'_>) {
        if self.0.as_ref() != Some(&why) {
            io.tell(UiEvent::Stalled { name: name.clone(), why: why.clone() });
            self.0 = Some(why);
        }
    }

    pub fn end(&mut self) {
        self.0 = None;
    }
}

pub(super) struct DownloadProgress {
    /// Bytes that an earlier run left behind.
    pub resumed: u64,
    /// A piece began to arrive in this run.
    pub has_received: bool,
    pub last_received: Instant,
    /// Bytes held and under way at the last look.
    seen: u64,
    /// The last report; `None` before the download began.
    reported_at: Option<Instant>,
    has_reported_piece: bool,
    /// Bytes held by the first pieces, if those are stored before the beginning is reported.
    early: u64,
    waiting: WaitState,
}

impl DownloadProgress {
    pub fn new(now: Instant) -> DownloadProgress {
        DownloadProgress {
            resumed: 0,
            has_received: false,
            last_received: now,
            seen: 0,
            reported_at: None,
            has_reported_piece: false,
            early: 0,
            waiting: WaitState::default(),
        }
    }

    pub fn has_begun(&self) -> bool {
        self.reported_at.is_some()
    }

    pub fn begin(&mut self, name: &RelativeName, from: SocketAddr, size: u64, io: &mut Io<'_>) {
        debug_assert!(!self.has_begun(), "a download begins once");
        self.reported_at = Some(io.now);
        io.tell(UiEvent::Begun { name: name.clone(), from, held: self.resumed, size });
        // A piece that came before is reported now: `begun` is the first report.
        if self.early > self.resumed {
            self.has_reported_piece = true;
            io.tell(UiEvent::Progress { name: name.clone(), held: self.early, size });
        }
    }

    /// Reports the beginning once more when the next piece is requested.
    pub fn restart(&mut self) {
        self.early = 0;
        self.reported_at = None;
    }

    /// Notes the bytes of a part that was opened or rechecked.
    pub fn note_resumed(&mut self, held: u64) {
        self.seen = held;
        if !self.has_begun() {
            self.resumed = held;
        }
    }

    /// A piece was stored. The first of this run is reported at once, to show that an old download
    /// goes on.
    pub fn piece_stored(&mut self, name: &RelativeName, held: u64, size: u64, io: &mut Io<'_>) {
        self.last_received = io.now;
        if !self.has_begun() {
            self.early = held;
        } else if held != self.resumed && !std::mem::replace(&mut self.has_reported_piece, true) {
            io.tell(UiEvent::Progress { name: name.clone(), held, size });
        }
    }

    pub fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_received)
    }

    /// Notes the bytes that are held or under way. True when they changed: on a slow line a piece
    /// takes long, and its bytes are a sign of life.
    pub fn note_seen(&mut self, bytes: u64, now: Instant) -> bool {
        let changed = std::mem::replace(&mut self.seen, bytes) != bytes;
        if changed {
            self.last_received = now;
        }
        changed
    }

    pub fn is_report_due(&self, now: Instant) -> bool {
        self.reported_at
            .is_some_and(|at| now.saturating_duration_since(at) >= limits::PROGRESS_INTERVAL)
    }

    pub fn report(&mut self, name: &RelativeName, held: u64, size: u64, io: &mut Io<'_>) {
        if self.is_report_due(io.now) {
            self.reported_at = Some(io.now);
            io.tell(UiEvent::Progress { name: name.clone(), held, size });
        }
    }

    pub fn wait_reason(&self) -> Option<&WaitReason> {
        self.waiting.reason()
    }

    pub fn wait(&mut self, name: &RelativeName, why: WaitReason, io: &mut Io<'_>) {
        self.waiting.tell(name, why, io);
    }

    pub fn end_wait(&mut self) {
        self.waiting.end();
    }

    /// Ends a wait that the first bytes of a piece disprove.
    pub fn end_wait_for_source(&mut self) {
        let for_source = |why: &mut WaitReason| {
            matches!(
                why,
                WaitReason::Consent
                    | WaitReason::Slot(_)
                    | WaitReason::Source
                    | WaitReason::Nobody
                    | WaitReason::Silence
            )
        };
        self.waiting.0.take_if(for_source);
    }

    pub fn stood_still(&mut self, gap: Duration) {
        self.last_received += gap;
    }
}
