//! The attacks that a closed server and its members must withstand, each by real programs. Further
//! ones are in `members`, `tls`, `link`, `gateway`, `http_access`, and in the simulator.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme,
    StreamOwned,
};
use serde_json::{Value, json};

use crate::harness::{Dir, Node, Process, finish, noise, run_tool, server_with};
use crate::members::{User, closed};

/// ENROLs of one address that are answered at once, and then in a minute.
const GUESSES: (u64, u64) = (5, 6);

/// ENROLs of all addresses in a second.
const ENROLS: u64 = 20;

/// Takes the key of any server: these clients are the attackers.
#[derive(Debug)]
struct AnyServer;

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
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// A configuration that shows the key of this seed.
fn config(seed: u8, protocol: &[u8]) -> Arc<ClientConfig> {
    let secret = [seed; 32];
    let pair = Ed25519KeyPair::from_seed_unchecked(&secret).expect("a key");
    let info = [
        &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..],
        pair.public_key().as_ref(),
    ];
    let pkcs8 =
        [&[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20][..], &secret];
    let signer = any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.concat())).expect("a signer");
    let shown = CertifiedKey::new(vec![CertificateDer::from(info.concat())], signer);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(
            shown,
        ))));
    config.alpn_protocols = vec![protocol.to_vec()];
    config.enable_sni = false;
    Arc::new(config)
}

/// A connection by TLS, with the key of this seed.
struct Tls(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Tls {
    fn with(at: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Tls> {
        let stream = TcpStream::connect(at)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let name = ServerName::try_from("cardume").expect("a name");
        let client = ClientConnection::new(config, name).expect("a client");
        Ok(Tls(BufReader::new(StreamOwned::new(client, stream))))
    }

    #[track_caller]
    fn open(at: SocketAddr, seed: u8) -> Tls {
        let mut tls = Tls::with(at, config(seed, b"cardume/1")).expect("a connection");
        tls.send("{\"cardume\":1,\"member\":true}\n");
        assert_eq!(tls.receive()["cardume"], 1);
        tls
    }

    #[track_caller]
    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).expect("it is taken");
    }

    #[track_caller]
    fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    #[track_caller]
    fn ask(&mut self, request: Value) -> Value {
        self.send(&format!("{request}\n"));
        self.receive()
    }
}

/// The slowest but one of a hundred PINGs of a member while `attack` goes on, once or more.
fn slow_pings(at: SocketAddr, attack: impl Fn() + Send + Sync) -> Duration {
    let mut member = Tls::open(at, 9);
    let (is_enough, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut times = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            attack();
            // On a quiet machine an attack ends before a hundred answers.
            while !is_enough.load(Ordering::Relaxed) {
                attack();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        while !is_over.load(Ordering::Relaxed) {
            let began = Instant::now();
            assert_eq!(member.ask(json!({"id": 1, "method": "PING"}))["status"], "PONG");
            times.push(began.elapsed());
            is_enough.fetch_or(times.len() >= 100, Ordering::Relaxed);
        }
    });
    times.sort();
    assert!(times.len() >= 100, "only {} answers", times.len());
    times[times.len() * 99 / 100]
}

#[test]
fn ten_thousand_guesses_of_a_token_have_few_answers() {
    let (closed, _) = closed(&[]);
    let began = Instant::now();
    let mut guesser = Tls::open(closed.at, 1);
    let mut judged = 0;
    for round in 0..100_u32 {
        let mut all = String::new();
        for number in 0..100_u32 {
            // The last digit has two bits that must be zero.
            let token = format!("{:026}0", round * 100 + number);
            let guess = json!({"id": number, "method": "ENROL", "token": token, "name": "eve"});
            all += &format!("{guess}\n");
        }
        guesser.send(&all);
        for _ in 0..100 {
            let answer = guesser.receive();
            match answer["error"]["code"].as_str() {
                Some("bad_token") => judged += 1,
                Some("busy") => {}
                _ => panic!("{answer}"),
            }
        }
    }
    // A machine without another address has a limit of all ENROLs alone.
    let most = match closed.at.ip().is_loopback() {
        true => ENROLS * (began.elapsed().as_secs() + 1),
        false => GUESSES.0 + GUESSES.1 * (began.elapsed().as_secs() / 60 + 1),
    };
    assert!((1..=most).contains(&judged), "{judged} were judged");
    if closed.at.ip().is_loopback() {
        return;
    }
    // Another key of the same address gets no further ones.
    let mut other = Tls::open(closed.at, 2);
    let token = "0".repeat(27);
    let answer = other.ask(json!({"id": 1, "method": "ENROL", "token": token, "name": "eva"}));
    assert_eq!(answer["error"]["code"], "busy");
}

#[test]
fn ten_thousand_connects_do_not_delay_the_pings_of_members() {
    let (closed, _) = closed(&[]);
    let at = closed.at;
    let slow = slow_pings(at, || {
        for _ in 0..10_000 {
            drop(TcpStream::connect(at));
        }
    });
    // The program of the tests is not optimised, and other tests run beside.
    assert!(slow < Duration::from_millis(100), "{slow:?}");
}

#[test]
fn a_burst_of_handshakes_does_not_delay_the_pings_of_members() {
    let (closed, _) = closed(&[]);
    let at = closed.at;
    let config = config(3, b"cardume/1");
    let slow = slow_pings(at, || {
        for _ in 0..500 {
            let mut tls = Tls::with(at, Arc::clone(&config)).expect("a connection");
            tls.send("{\"cardume\":1}\n");
        }
    });
    assert!(slow < Duration::from_millis(200), "{slow:?}");
}

#[test]
fn http_under_the_native_protocol_is_refused() {
    let (closed, _) = closed(&[]);
    for text in
        ["GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "GET /api/search?q=a HTTP/1.1\r\n\r\n"]
    {
        let mut tls = Tls::with(closed.at, config(1, b"cardume/1")).expect("a connection");
        tls.send(text);
        let mut said = Vec::new();
        let _ = tls.0.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        assert!(!said.contains("HTTP/1.1"), "{said}");
    }
}

#[test]
fn no_session_is_resumed_so_nothing_can_be_replayed() {
    let (closed, _) = closed(&[]);
    let mut all = (*config(1, b"cardume/1")).clone();
    all.resumption = Resumption::in_memory_sessions(8);
    all.enable_early_data = true;
    let config = Arc::new(all);
    for _ in 0..3 {
        let mut tls = Tls::with(closed.at, Arc::clone(&config)).expect("a connection");
        assert!(tls.0.get_mut().conn.early_data().is_none(), "early data is offered");
        tls.send("{\"cardume\":1}\n");
        assert_eq!(tls.receive()["role"], "server");
        tls.send("{\"id\":1,\"method\":\"PING\"}\n");
        assert_eq!(tls.receive()["status"], "PONG");
        assert_eq!(tls.0.get_ref().conn.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[test]
fn old_versions_other_protocols_and_weak_ciphers_get_an_alert() {
    let (closed, _) = closed(&[]);
    let at = closed.at.to_string();
    for (args, alert) in [
        (&["-tls1_2"][..], "alert number 70"),
        (&["-alpn", "h2"], "alert number 120"),
        (&["-ciphersuites", "TLS_AES_128_CCM_SHA256"], "alert number 40"),
    ] {
        let all = [&["s_client", "-connect", &at], args].concat();
        let Some(done) = run_tool("openssl", &all) else { return };
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(said.contains(alert), "{args:?}: {said}");
    }
}

#[test]
fn a_proof_for_another_server_is_no_proof() {
    let (closed, _) = closed(&[]);
    let other = server_with(&["--listen", "127.0.0.1:0"]);
    // The opening of the other server, and a proof for it, are handed on.
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key");
    let key: String = pair.public_key().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut there = Tls::open(other.at, 1);
    let identity = there.ask(json!({"id": 1, "method": "WHOAMI"}));
    let mut here = Tls::with(closed.at, config(2, b"cardume/1")).expect("a connection");
    here.send("{\"cardume\":1,\"member\":true}\n");
    let nonce = here.receive()["nonce"].as_str().expect("a nonce").to_owned();
    let text = format!("cardume 2\nIDENTIFY\n{}\n{nonce}", identity["key"].as_str().unwrap_or(""));
    let proof: String =
        pair.sign(text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let answer = here.ask(json!({"id": 1, "method": "IDENTIFY", "key": key, "proof": proof}));
    assert!(
        ["forbidden", "bad_proof"].contains(&answer["error"]["code"].as_str().unwrap_or("")),
        "{answer}"
    );
    assert_eq!(here.ask(json!({"id": 2, "method": "PASS"}))["error"]["code"], "not_member");
}

#[test]
fn secrets_are_on_no_command_line_and_in_no_log() {
    let (closed, invites) = closed(&[&[]]);
    let token = invites[0].rsplit('.').next().expect("a token").to_owned();
    let ana = User::new();
    let mut said = Vec::new();
    let mut join = ana.command(&["join", "--name", "ana"]);
    join.env("CARDUME_INVITE", &invites[0]).env("RUST_LOG", "trace");
    let done = finish(Process::start(join));
    done.succeeded();
    said.extend(done.out.iter().chain(&done.err).cloned());
    let here = Dir::with("a.mp4", &noise(1, 50_000));
    let listen = format!("{}:0", closed.at.ip());
    let mut share =
        ana.command(&["peer", "--no-local", "--listen", &listen, "--folder", here.text()]);
    share.env("RUST_LOG", "trace");
    let peer = Node::listening(Process::start(share));
    peer.wait_for_stdout("Sou peer ");
    let mut search = ana.command(&["search", "a.mp4"]);
    search.env("RUST_LOG", "trace");
    let done = finish(Process::start(search));
    said.extend(done.out.iter().chain(&done.err).cloned());
    said.extend(peer.out.lines().into_iter().chain(peer.err.lines()));
    let secret_key = ana.key_text();
    for process in std::fs::read_dir("/proc").expect("processes").flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        if line.windows(7).any(|window| window == b"cardume") {
            said.push(String::from_utf8_lossy(&line).into_owned());
        }
    }
    let all = said.join("\n");
    assert!(all.len() > 500, "too little was said: {all}");
    for secret in [token.as_str(), "v4.public.", secret_key.trim()] {
        assert!(!secret.is_empty() && !all.contains(secret), "a secret is shown: {secret}");
    }
}

#[test]
fn a_server_that_has_lost_its_key_is_refused_until_replaced() {
    let (mut closed, invites) = closed(&[&[]]);
    let ana = User::new();
    ana.joins(&invites[0], "ana");
    closed.loses_its_key();
    let shown = ana.run(&["search", "a.mp4"]);
    shown.failed(6, "join --replace");
    assert!(shown.err[0].contains(" has the key ") && shown.err[0].contains("the known key is "));
}
