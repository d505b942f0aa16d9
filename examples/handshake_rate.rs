//! TLS 1.3 handshakes a second with any server: the same client for cardume and for nginx.
//!
//! `handshake_rate IP:PORT KIND SECONDS [RATE]`
//!
//! KIND is `x509` for a server with a certificate, `raw` for raw public keys (RFC 7250), or
//! `member` for raw keys on both sides. Without RATE, [`DEPTH`] connections are always in progress.
//! With RATE, as many begin each second, whether or not the server keeps up. Each connection ends
//! after its handshake. Prints one JSON object. `scripts/bench/storm.py` runs this.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cardume::node::stats::histogram::Histogram;
use cardume::os::system;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, ring as provider, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, PeerIncompatible, SignatureScheme,
};
use socket2::{Domain, Protocol, Socket, Type};

type Failure = Box<dyn std::error::Error>;

/// Connections in progress without a rate: enough to keep a server busy.
const DEPTH: usize = 64;
/// Connections in progress with a rate: below the handshakes that cardume takes at once.
const MOST: usize = 400;
/// Source addresses on loopback: one has fewer free ports than a run has connections.
const SOURCES: usize = 200;
/// The longest wait of the poll: a fraction of the interval between connections that matters.
const TICK: Duration = Duration::from_millis(1);

/// Trusts any key, and checks its signature as every client does.
#[derive(Debug)]
struct AnyServer {
    is_raw: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.is_raw {
            let info = SubjectPublicKeyInfoDer::from(shown.as_ref());
            verify_tls13_signature_with_raw_key(message, &info, signature, &self.algorithms)
        } else {
            verify_tls13_signature(message, shown, signature, &self.algorithms)
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.is_raw
    }
}

fn config(kind: &str) -> Result<Arc<ClientConfig>, Failure> {
    let is_raw = match kind {
        "x509" => false,
        "raw" | "member" => true,
        _ => return Err("the kind is x509, raw or member".into()),
    };
    let provider = provider::default_provider();
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer { is_raw, algorithms }));
    let mut config = if kind == "member" {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| "no key can be made")?;
        let signer = any_eddsa_type(&PrivatePkcs8KeyDer::from(pair.as_ref().to_vec()))?;
        let public = signer.public_key().ok_or("the key has no public half")?;
        let shown = CertificateDer::from(public.as_ref().to_vec());
        let key = Arc::new(CertifiedKey::new(vec![shown], signer));
        builder.with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key)))
    } else {
        builder.with_no_client_auth()
    };
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A connection before the end of its handshake.
struct Attempt {
    socket: TcpStream,
    tls: ClientConnection,
    began: Instant,
}

impl Attempt {
    /// True once both sides have finished.
    fn advance(&mut self) -> Result<bool, Failure> {
        loop {
            let done = if self.tls.wants_write() {
                self.tls.write_tls(&mut self.socket)
            } else if !self.tls.is_handshaking() {
                return Ok(true);
            } else {
                self.tls.read_tls(&mut self.socket)
            };
            match done {
                Ok(0) => return Err("the server ended the connection".into()),
                Ok(_) => {
                    self.tls.process_new_packets()?;
                }
                // Not connected yet.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

struct Load {
    server: SocketAddr,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    poll: Poll,
    attempts: Vec<Option<Attempt>>,
    free: Vec<usize>,
    started: u64,
    failed: u64,
    why: Option<String>,
    times: Histogram,
}

impl Load {
    fn new(server: SocketAddr, kind: &str, most: usize) -> Result<Load, Failure> {
        Ok(Load {
            server,
            config: config(kind)?,
            name: ServerName::try_from("cardume")?,
            poll: Poll::new()?,
            attempts: std::iter::repeat_with(|| None).take(most).collect(),
            free: (0..most).collect(),
            started: 0,
            failed: 0,
            why: None,
            times: Histogram::default(),
        })
    }

    /// Begins a connection. False when too many are in progress.
    fn start(&mut self) -> Result<bool, Failure> {
        let Some(place) = self.free.pop() else { return Ok(false) };
        let domain = Domain::for_address(self.server);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if matches!(self.server.ip(), IpAddr::V4(ip) if ip.is_loopback()) {
            let last = u8::try_from(1 + self.started % SOURCES as u64)?;
            let from = SocketAddr::from((Ipv4Addr::new(127, 0, 9, last), 0));
            socket.bind(&from.into())?;
        }
        match socket.connect(&self.server.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let mut socket = TcpStream::from_std(socket.into());
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(place), both)?;
        let tls = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        self.attempts[place] = Some(Attempt { socket, tls, began: Instant::now() });
        self.started += 1;
        Ok(true)
    }

    fn serve(&mut self, place: usize) {
        let Some(attempt) = &mut self.attempts[place] else { return };
        match attempt.advance() {
            Ok(false) => return,
            Ok(true) => self.times.note(attempt.began.elapsed()),
            Err(error) => {
                self.failed += 1;
                self.why.get_or_insert(error.to_string());
            }
        }
        self.attempts[place] = None;
        self.free.push(place);
    }

    /// Connections that should have begun after this time.
    fn owed(rate: Option<u64>, spent: Duration) -> u64 {
        rate.map_or(u64::MAX, |rate| {
            u64::try_from(spent.as_micros() * u128::from(rate) / 1_000_000).unwrap_or(u64::MAX)
        })
    }

    fn run(&mut self, length: Duration, rate: Option<u64>) -> Result<(), Failure> {
        let (began, mut events) = (Instant::now(), Events::with_capacity(1_024));
        while began.elapsed() < length {
            while self.started < Load::owed(rate, began.elapsed()) && self.start()? {}
            self.poll.poll(&mut events, Some(TICK))?;
            let ready: Vec<usize> = events.iter().map(|event| event.token().0).collect();
            for place in ready {
                self.serve(place);
            }
        }
        Ok(())
    }
}

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [server, kind, seconds, more @ ..] = &words[..] else {
        return Err("usage: handshake_rate IP:PORT x509|raw|member SECONDS [RATE]".into());
    };
    let rate = more.first().map(|rate| rate.parse()).transpose()?;
    let length = Duration::try_from_secs_f64(seconds.parse()?)?;
    let most = if rate.is_some() { MOST } else { DEPTH };
    let mut load = Load::new(server.parse()?, kind, most)?;
    let (began, cpu) = (Instant::now(), system::cpu_time());
    load.run(length, rate)?;
    let cpu = system::cpu_time().saturating_sub(cpu);
    let spent = began.elapsed();
    let late = rate.map(|_| Load::owed(rate, spent).saturating_sub(load.started));
    println!(
        "{}",
        serde_json::json!({
            "handshakes": load.times.count(), "failed": load.failed, "why": load.why, "late": late,
            "seconds": spent.as_secs_f64(), "client_cpu": cpu.as_secs_f64(),
            "p50_ms": load.times.quantile(500).as_secs_f64() * 1e3,
            "p99_ms": load.times.quantile(990).as_secs_f64() * 1e3,
        })
    );
    Ok(())
}
