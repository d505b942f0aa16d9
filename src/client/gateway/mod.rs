//! `cardume web`: a gateway on loopback, by which a browser uses a closed server.
//!
//! ```text
//!   browser --HTTP, one secret path--> Gate --> BrowserConn --HTTP in TLS--> server: search, live events
//!                                                  |  '-----HTTP in TLS--> provider: files, with the pass
//!                                                  '--look-up by SEARCH: the provider is listed, and has this key
//! ```
//!
//! The page is the gateway's own, so that no server runs a script in the origin of the gateway. A
//! provider is reached only if the index lists the provider for the file: the gateway is no open proxy.

mod browser;
mod providers;

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use crate::client::Client;
use crate::client::config::ClientConfig;
use crate::client::effect::Effect;
use crate::client::gateway::browser::{
    BrowserConn, BrowserStep, PendingForward, Stage, UpstreamTarget,
};
use crate::client::gateway::providers::{Listing, LookUpStep, Providers};
use crate::client::server_requests::PendingRequest;
use crate::limits;
use crate::node::conn_map::ConnMap;
use crate::node::io::Io;
use crate::node::{CloseReason, ConnId, Event, Node, PortId};
use crate::protocol::Decoded;
use crate::protocol::http::forward;
use crate::protocol::http::gate::{Gate, GatedRequest, GatedTarget, ProvidedFile};
use crate::protocol::request::{Request, Selector};
use crate::protocol::types::pass::PassText;
use crate::ui::event::{Failure, UiEvent, exit};

/// The port of browsers.
const BROWSERS: PortId = PortId(0);
/// The status of a request to a server or provider that is away.
const BAD_GATEWAY: &str = "502 Bad Gateway";

/// A gateway.
pub struct Gateway {
    client: Client,
    listen: SocketAddr,
    /// `None` before the port is open.
    gate: Option<Gate>,
    browsers: ConnMap<BrowserConn>,
    /// The browser connection of each upstream connection.
    upstreams: ConnMap<ConnId>,
    providers: Providers,
    pass: PassState,
    /// The last failure of the server.
    server_failure: Option<String>,
    is_announced: bool,
    uses: u64,
    wake: Option<Instant>,
}

/// The pass for providers.
enum PassState {
    /// None is needed, or the server has not answered yet.
    Unknown,
    Held(Rc<PassText>),
    /// Only providers of this user serve this gateway.
    Refused,
}

/// Where a request goes.
enum Route {
    /// The server, a look-up or a pass is missing yet.
    Wait,
    Send(UpstreamTarget),
    Fail(&'static str, String),
}

impl Gateway {
    /// A gateway that has not started, on this port of 127.0.0.1; 0: a free port.
    #[must_use]
    pub fn new(mut config: ClientConfig, port: u16) -> Gateway {
        // Without a server at the start, a gateway ends. Later the server may come and go.
        config.needs_server = true;
        let mut client = Client::new(config);
        client.want_pass();
        Gateway {
            client,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            gate: None,
            browsers: ConnMap::default(),
            upstreams: ConnMap::default(),
            providers: Providers::default(),
            pass: PassState::Unknown,
            server_failure: None,
            is_announced: false,
            uses: 0,
            wake: None,
        }
    }

    fn port_opened(&mut self, result: Result<SocketAddr, String>, io: &mut Io<'_>) {
        match result {
            Ok(at) => {
                self.gate = Some(Gate::new(at.port(), &(io.random)()));
                self.client.server.want(io);
            }
            Err(why) => io.fail(&Failure::Port(self.listen, why)),
        }
    }

    /// The server is open, and has answered about the pass: prints the URL, once.
    fn announce(&mut self, io: &mut Io<'_>) {
        let is_ready =
            self.client.server.closed_key().is_none() || !matches!(self.pass, PassState::Unknown);
        if let Some(gate) = self.gate.as_ref().filter(|_| is_ready && !self.is_announced) {
            self.is_announced = true;
            self.client.config.needs_server = false;
            io.tell(UiEvent::Web { url: gate.url() });
        }
    }

    fn accepted(&mut self, id: ConnId, io: &mut Io<'_>) {
        if self.browsers.len() >= limits::GATEWAY_CONNECTIONS {
            let idle = self.browsers.iter().filter(|(_, one)| matches!(one.stage, Stage::Idle));
            let oldest = idle.min_by_key(|(_, one)| one.last_use).map(|(id, _)| id);
            // All are busy: refuse the new connection.
            let dropped = oldest.unwrap_or(id);
            if let Some(mut browser_conn) = self.browsers.remove(&dropped) {
                browser_conn.drop_upstream(io);
            }
            if let Some(conn) = io.connection(dropped) {
                conn.drop_now();
            }
            if dropped == id {
                return;
            }
        }
        let now = io.now;
        let Some(conn) = io.connection(id) else { return };
        if conn.turned_away {
            return conn.drop_now();
        }
        // A paused player leaves bytes unread for long.
        conn.is_own = true;
        conn.max_header = limits::GATEWAY_HEADER_BYTES + limits::API_BODY_BYTES + 1;
        self.uses += 1;
        let mut browser_conn = BrowserConn::new(now, self.uses);
        browser_conn.set_deadlines(id, io);
        self.browsers.insert(id, browser_conn);
    }

    /// Takes the steps that are possible on a connection of a browser.
    fn serve(&mut self, id: ConnId, io: &mut Io<'_>) {
        for step in 0.. {
            let Some(browser_conn) = self.browsers.get_mut(&id) else { return };
            let outcome = match &browser_conn.stage {
                Stage::Idle => self.read_request(id, io),
                Stage::Waiting(_) => self.route_request(id, io),
                Stage::Asked(_) => browser_conn.read_head(id, io),
                Stage::Body { .. } => browser_conn.pump(id, io),
                Stage::Over => BrowserStep::Wait,
            };
            match outcome {
                BrowserStep::Wait => break,
                BrowserStep::Again if step == limits::SERVICE_REQUESTS => {
                    if let Some(conn) = io.connection(id) {
                        conn.reschedule = true;
                    }
                    break;
                }
                BrowserStep::Again => {}
                BrowserStep::Failed(text) => {
                    self.upstream_failed(id, &text, io);
                }
            }
        }
        if let Some(browser_conn) = self.browsers.get_mut(&id) {
            browser_conn.set_deadlines(id, io);
        }
    }

    fn read_request(&mut self, id: ConnId, io: &mut Io<'_>) -> BrowserStep {
        let (Some(gate), Some(browser_conn), Some(conn)) =
            (&self.gate, self.browsers.get_mut(&id), io.connection(id))
        else {
            return BrowserStep::Wait;
        };
        if conn.send_queue.memory_waiting() >= limits::GATEWAY_QUEUE_BYTES {
            return BrowserStep::Wait;
        }
        let (text, closes) = match gate.read(conn.recv_buffer.header()) {
            Ok(Decoded::Whole { item: request, used }) => {
                conn.recv_buffer.consume(used);
                self.uses += 1;
                browser_conn.last_use = self.uses;
                let GatedRequest { head_only, closes, .. } = request;
                match request.target {
                    GatedTarget::Unslashed => {
                        (forward::moved(&gate.path(), closes).into_bytes(), closes)
                    }
                    GatedTarget::Asset(asset) => (forward::asset(asset, head_only, closes), closes),
                    GatedTarget::Server(_) | GatedTarget::File(_) => {
                        browser_conn.begin(request);
                        return BrowserStep::Again;
                    }
                }
            }
            Ok(_) => return BrowserStep::Wait,
            Err(refusal) => {
                conn.recv_buffer.consume(usize::MAX);
                let line = forward::line(refusal.status, refusal.text, refusal.head_only, true);
                (line.into_bytes(), true)
            }
        };
        conn.send_queue.memory().with(|out| out.extend_from_slice(&text));
        browser_conn.answered(closes);
        BrowserStep::Again
    }

    /// Sends a request on as soon as the route is known.
    fn route_request(&mut self, id: ConnId, io: &mut Io<'_>) -> BrowserStep {
        let Some(browser_conn) = self.browsers.get_mut(&id) else { return BrowserStep::Wait };
        let stage = std::mem::replace(&mut browser_conn.stage, Stage::Over);
        let Stage::Waiting(mut forward) = stage else {
            browser_conn.stage = stage;
            return BrowserStep::Wait;
        };
        let route = self.route(&mut forward, io);
        let Some(browser_conn) = self.browsers.get_mut(&id) else { return BrowserStep::Wait };
        match route {
            Route::Wait => {
                browser_conn.stage = Stage::Waiting(forward);
                BrowserStep::Wait
            }
            Route::Fail(status, text) => {
                let GatedRequest { head_only, closes, .. } = forward.request;
                answer(
                    id,
                    browser_conn,
                    &forward::line(status, &text, head_only, closes),
                    closes,
                    io,
                );
                BrowserStep::Again
            }
            Route::Send(target) => {
                let pass = match (&self.pass, &forward.request.target) {
                    (PassState::Held(pass), GatedTarget::File(_)) => Some(&**pass),
                    _ => None,
                };
                let head = forward::request(
                    &forward.request,
                    target.at,
                    pass.filter(|_| target.key.is_some()),
                );
                if let Some(conn) = browser_conn.send(forward, target, head, io) {
                    self.upstreams.insert(conn, id);
                }
                BrowserStep::Wait
            }
        }
    }

    fn route(&mut self, forward: &mut PendingForward, io: &mut Io<'_>) -> Route {
        if !self.client.server.is_open() {
            if !self.client.server.is_connected() {
                if forward.has_tried_server {
                    return Route::Fail(BAD_GATEWAY, self.server_is_away());
                }
                forward.has_tried_server = true;
                self.client.server.try_now(io);
            }
            return Route::Wait;
        }
        let Some(server) = self.client.server.server() else { return Route::Wait };
        match &forward.request.target {
            GatedTarget::File(file) => self.route_to_provider(&file.clone(), server, io),
            _ => Route::Send(UpstreamTarget { at: server, key: self.client.server.key() }),
        }
    }

    fn route_to_provider(
        &mut self,
        file: &ProvidedFile,
        server: SocketAddr,
        io: &mut Io<'_>,
    ) -> Route {
        let at = file.at;
        let is_elsewhere = at.ip().is_loopback() && !server.ip().to_canonical().is_loopback();
        let wanted = (at, file.name.clone());
        let unlisted =
            || Route::Fail("404 Not Found", format!("the index does not list {at} with this file"));
        let is_closed = self.client.server.closed_key().is_some();
        match self.providers.listing(&wanted, io.now) {
            // The address of this machine in the index of another machine means that machine.
            _ if is_elsewhere => unlisted(),
            None => {
                let step = self.providers.begin(&wanted);
                self.look_up(step, io);
                Route::Wait
            }
            Some(Listing::Unlisted) => unlisted(),
            Some(Listing::Refused(error)) => {
                Route::Fail(BAD_GATEWAY, format!("the server refuses: {}", error.text))
            }
            Some(Listing::Listed(None)) if is_closed => {
                Route::Fail(BAD_GATEWAY, format!("the peer at {at} has no key in the index"))
            }
            Some(Listing::Listed(Some(_)))
                if is_closed && matches!(self.pass, PassState::Unknown) =>
            {
                Route::Wait
            }
            Some(Listing::Listed(key)) => Route::Send(UpstreamTarget { at, key: *key }),
        }
    }

    fn look_up(&mut self, step: LookUpStep, io: &mut Io<'_>) {
        if let LookUpStep::Page(id, name, cursor) = step {
            let request = Request::Search { wanted: Selector::Name(name), cursor, speaks: None };
            self.client.ask(&request, PendingRequest::LookUp(id), io);
        }
    }

    fn server_is_away(&self) -> String {
        self.server_failure.clone().unwrap_or_else(|| "the server does not answer".into())
    }

    /// The server or provider of a request has failed before the response.
    fn upstream_failed(&mut self, id: ConnId, why: &str, io: &mut Io<'_>) {
        let Some(browser_conn) = self.browsers.get_mut(&id) else { return };
        let at = browser_conn.upstream.as_ref().map(|upstream| upstream.target.at);
        browser_conn.drop_upstream(io);
        let Stage::Asked(PendingForward { request, .. }) =
            std::mem::replace(&mut browser_conn.stage, Stage::Over)
        else {
            return;
        };
        let text = match request.target {
            GatedTarget::File(ProvidedFile { at, name, .. }) => {
                self.providers.forget(&(at, name));
                format!("the peer at {at}: {why}")
            }
            _ => match at {
                Some(at) => format!("the server at {at}: {why}"),
                None => format!("the server: {why}"),
            },
        };
        let GatedRequest { head_only, closes, .. } = request;
        answer(id, browser_conn, &forward::line(BAD_GATEWAY, &text, head_only, closes), closes, io);
    }

    /// The connection to the server, or to a provider, is closed.
    fn upstream_closed(&mut self, upstream: ConnId, reason: &CloseReason, io: &mut Io<'_>) {
        let Some(id) = self.upstreams.remove(&upstream) else { return };
        let Some(browser_conn) = self.browsers.get_mut(&id) else { return };
        if browser_conn.upstream.as_ref().is_none_or(|current| current.conn != upstream) {
            return;
        }
        let step = match &browser_conn.stage {
            Stage::Asked(_) if *reason == CloseReason::Remote => browser_conn.ended_early(io),
            Stage::Asked(_) => BrowserStep::Failed(reason_text(reason).into()),
            _ => {
                browser_conn.upstream = None;
                BrowserStep::Again
            }
        };
        if let BrowserStep::Failed(text) = step {
            self.upstream_failed(id, &text, io);
        }
        self.serve(id, io);
    }

    fn ended(&mut self, id: ConnId, io: &mut Io<'_>) {
        let browser = self.upstreams.get(&id).copied();
        let Some(browser_conn) = self.browsers.get_mut(&browser.unwrap_or(id)) else {
            if let Some(conn) = io.connection(id) {
                conn.drop_now();
            }
            return;
        };
        if browser.is_none() {
            browser_conn.has_ended = true;
        } else if let Some(upstream) =
            browser_conn.upstream.as_mut().filter(|upstream| upstream.conn == id)
        {
            upstream.has_ended = true;
            if matches!(browser_conn.stage, Stage::Idle | Stage::Waiting(_) | Stage::Over) {
                browser_conn.drop_upstream(io);
            }
        }
        self.serve(browser.unwrap_or(id), io);
    }

    fn received(&mut self, id: ConnId, io: &mut Io<'_>) {
        let Some(browser) = self.upstreams.get(&id).copied() else { return self.serve(id, io) };
        let is_asked = |browser_conn: &BrowserConn| {
            let is_current =
                browser_conn.upstream.as_ref().is_some_and(|current| current.conn == id);
            is_current && matches!(browser_conn.stage, Stage::Asked(_) | Stage::Body { .. })
        };
        if self.browsers.get(&browser).is_some_and(is_asked) {
            return self.serve(browser, io);
        }
        // Bytes without a request.
        if let Some(conn) = io.connection(id) {
            conn.drop_now();
        }
    }

    fn closed(&mut self, id: ConnId, reason: &CloseReason, io: &mut Io<'_>) {
        if self.client.server.is(id) {
            let text = self
                .client
                .server
                .server()
                .map(|at| format!("the server at {at}: {}", reason_text(reason)));
            self.server_failure = text;
            return self.client.server_lost(reason, None, io);
        }
        if let Some(mut browser_conn) = self.browsers.remove(&id) {
            return browser_conn.drop_upstream(io);
        }
        self.upstream_closed(id, reason, io);
    }

    /// Runs the effects of the client, and serves the requests that waited for them.
    fn drain_effects(&mut self, io: &mut Io<'_>) {
        let mut has_news = false;
        while let Some(effect) = self.client.next_effect() {
            has_news = true;
            match effect {
                Effect::ServerOpened { .. } => self.pass = PassState::Unknown,
                Effect::PassReceived { pass, .. } => self.pass = PassState::Held(pass.pass),
                Effect::PassRefused(error) => self.pass_refused(&Failure::Refused(error), io),
                Effect::SessionLost => self.providers.session_lost(),
                Effect::LookedUp(id, answer) => {
                    let step = self.providers.answered(id, answer, io.now);
                    self.look_up(step, io);
                }
                Effect::ServerReady
                | Effect::ShutDown
                | Effect::NextKey(_)
                | Effect::Revoked(_) => {}
                _ => debug_assert!(false, "a gateway runs no command"),
            }
        }
        if !has_news {
            return;
        }
        if self.client.server.is_open() {
            self.announce(io);
        }
        let waits = |(_, one): &(ConnId, &BrowserConn)| matches!(one.stage, Stage::Waiting(_));
        let waiting: Vec<ConnId> = self.browsers.iter().filter(waits).map(|(id, _)| id).collect();
        waiting.into_iter().for_each(|id| self.serve(id, io));
    }

    /// A stranger gets nothing from a closed server. A program of the user that runs the server
    /// needs no pass there.
    fn pass_refused(&mut self, failure: &Failure, io: &mut Io<'_>) {
        self.pass = PassState::Refused;
        if !self.is_announced && self.client.server.is_by_tls() {
            io.fail(failure);
        }
    }
}

/// Sends a response of the gateway itself.
fn answer(id: ConnId, browser_conn: &mut BrowserConn, text: &str, closes: bool, io: &mut Io<'_>) {
    if let Some(conn) = io.connection(id) {
        conn.send_queue.memory().with(|out| out.extend_from_slice(text.as_bytes()));
    }
    browser_conn.answered(closes);
}

/// The reason of a closed connection, as the browser shows it.
fn reason_text(reason: &CloseReason) -> &str {
    match reason {
        CloseReason::WrongKey(_) => "it has another key than the one known",
        CloseReason::Timeout => "it does not answer",
        CloseReason::Unreachable(text) | CloseReason::Internal(text) => text,
        CloseReason::Disk(_)
        | CloseReason::Untrusted(_)
        | CloseReason::Done
        | CloseReason::Remote
        | CloseReason::SourceChanged => "the connection is lost",
    }
}

impl Node for Gateway {
    fn handle(&mut self, event: Event, io: &mut Io<'_>) {
        match event {
            Event::Start => io.listen_plain(BROWSERS, self.listen),
            Event::Listening(_, result) => self.port_opened(result, io),
            Event::Accepted(id, _) => self.accepted(id, io),
            Event::Connected(id) if self.client.server.is(id) => {
                self.client.server_connected(id, io)
            }
            Event::Connected(id) => {
                let browser = self.upstreams.get(&id).copied();
                if let Some(browser_conn) = browser.and_then(|id| self.browsers.get_mut(&id)) {
                    browser_conn.connected(io);
                }
            }
            Event::Received(id) if self.client.server.is(id) => {
                while self.client.read_message(io) {}
            }
            Event::Received(id) => self.received(id, io),
            Event::Drained(id) if self.browsers.get(&id).is_some() => self.serve(id, io),
            Event::Ended(id) => self.ended(id, io),
            Event::Closed(id, reason) => self.closed(id, &reason, io),
            Event::Stop(_) => self.client.end(exit::DONE, io),
            Event::Deadline => {
                self.client.on_deadline(io);
            }
            _ => {}
        }
        self.drain_effects(io);
        self.wake = self.client.next_deadline(io.now);
    }

    fn deadline(&self) -> Option<Instant> {
        self.wake
    }
}
