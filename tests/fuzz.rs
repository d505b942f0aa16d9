//! Structured fuzz of what strangers send before they have proven anything: TLS records, passes,
//! link tickets and invites. Inputs are near a valid one, as a function of a seed.
//!
//! ```text
//! cargo test --test fuzz                                   a few thousand inputs a target
//! FUZZ_INPUTS=5000000 FUZZ_SEED=7 cargo test --release --test fuzz
//! ```

use std::collections::VecDeque;
use std::io::{self, Read};

use cardume::accounts::identity::Identity;
use cardume::io::budget::Block;
use cardume::io::traits::{RawRead, RawWrite};
use cardume::os::net::tcp_connection::{Socket, TcpConnection};
use cardume::os::net::tls::Tls;
use cardume::os::net::tls::identity::TlsIdentity;
use cardume::protocol::types::account::UserName;
use cardume::protocol::types::link_ticket::{LinkId, LinkKey, LinkSubject, LinkTicket};
use cardume::protocol::types::member::{Groups, InviteToken, InviteUrl, MemberRole};
use cardume::protocol::types::pass::{Pass, PassText};
use cardume::protocol::types::relative_path::RelativeName;
use cardume::reactor::traits::Stream as _;

/// Inputs of a target in an ordinary run.
const INPUTS: u64 = 4_000;
/// A handshake takes as long as this many inputs of the other targets.
const HANDSHAKE: u64 = 20;
/// The longest text that a mutation may make.
const LONGEST: usize = 4_096;
/// The bytes that have a meaning in one of the texts.
const SYNTAX: &[u8] = b"Az09-_+/=.,:#\"{}[]\\ \n\0\x7f\xe1\xff";

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// A generator (xorshift64*).
struct Random(u64);

impl Random {
    fn new(target: u64) -> Random {
        Random((number("FUZZ_SEED", 1) << 8 | target).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap_or(0) % count.max(1)
    }

    /// One to four changes of a valid input; sometimes none.
    fn changed(&mut self, valid: &[u8]) -> Vec<u8> {
        let mut bytes = valid.to_vec();
        for _ in 0..self.below(5) {
            self.change(&mut bytes);
        }
        bytes.truncate(LONGEST);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let end = (at + 1 + self.below(24)).min(bytes.len());
        match self.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = SYNTAX[self.below(SYNTAX.len())],
            2 => bytes.insert(at, SYNTAX[self.below(SYNTAX.len())]),
            3 if at < end => drop(bytes.drain(at..end)),
            4 if at < end => {
                let twice = bytes[at..end].to_vec();
                bytes.splice(at..at, twice);
            }
            5 => bytes.truncate(at),
            6 if at + 2 <= bytes.len() => {
                // A length or a number at an edge.
                let edges = [0_u16, 1, 0x7f, 0xff, 0x100, 0x3fff, 0x4000, 0x4001, 0xffff];
                bytes[at..at + 2].copy_from_slice(&edges[self.below(edges.len())].to_be_bytes());
            }
            7 if at < end => bytes[at..end].reverse(),
            _ => {
                let long = vec![SYNTAX[self.below(SYNTAX.len())]; self.below(600)];
                bytes.splice(at..at, long);
            }
        }
    }
}

/// Runs a target, with a count at the end.
fn fuzz(target: u64, name: &str, inputs: u64, mut run: impl FnMut(&mut Random) -> bool) {
    let mut random = Random::new(target);
    let accepted = (0..inputs).filter(|_| run(&mut random)).count();
    eprintln!("{name}: {inputs} inputs, {accepted} accepted");
    assert!(accepted > 0, "no input was accepted: the valid one is not valid");
}

#[test]
fn no_changed_pass_is_a_pass() {
    let identity = Identity::new(&[1; 32]).expect("a key");
    let pass = Pass {
        key: Identity::new(&[2; 32]).expect("a key").key(),
        name: UserName::new("ana").expect("a name"),
        role: MemberRole::Share,
        groups: Groups::parse(["a", "b"]).expect("groups"),
        issued: 100,
        expires: 1_000,
    };
    let valid = pass.sign(|text| identity.sign(text)).reveal();
    fuzz(1, "pass", number("FUZZ_INPUTS", INPUTS), |random| {
        let changed = random.changed(valid.as_bytes());
        let Ok(text) = std::str::from_utf8(&changed) else { return false };
        let Ok(parsed) = PassText::parse(text) else { return false };
        assert_eq!(parsed.reveal(), text, "two spellings of a pass");
        match parsed.verify(&[identity.key()]) {
            Ok(read) => {
                assert!(text == valid && read == pass, "a changed pass is accepted: {text}");
                true
            }
            Err(_) => false,
        }
    });
}

#[test]
fn any_claims_that_are_accepted_are_sound() {
    // The server signs what it is asked to, so that the claims are reached behind the signature.
    let identity = Identity::new(&[1; 32]).expect("a key");
    let key = Identity::new(&[2; 32]).expect("a key").key();
    let valid = format!(
        "{{\"v\":1,\"k\":\"{key}\",\"n\":\"ana\",\"r\":\"share\",\"g\":[\"a\"],\"i\":100,\"x\":1000}}"
    );
    fuzz(2, "claims", number("FUZZ_INPUTS", INPUTS) / 4 + 1, |random| {
        let payload = random.changed(valid.as_bytes());
        let text = PassText::parse(&signed(&identity, &payload));
        let Ok(Ok(pass)) = text.map(|text| text.verify(&[identity.key()])) else { return false };
        assert!(pass.expires >= pass.issued && pass.expires - pass.issued <= 900, "{pass:?}");
        true
    });
}

/// Any payload as a pass.
fn signed(identity: &Identity, payload: &[u8]) -> String {
    let pieces: [&[u8]; 4] = [b"v4.public.", payload, b"", b"cardume pass"];
    let mut text = (pieces.len() as u64).to_le_bytes().to_vec();
    for piece in pieces {
        text.extend((piece.len() as u64).to_le_bytes());
        text.extend(piece);
    }
    let bytes = [payload, &identity.sign(&text)].concat();
    format!("v4.public.{}", cardume::protocol::types::base64url::encode(&bytes))
}

#[test]
fn no_changed_ticket_is_a_ticket() {
    let name = |text| RelativeName::new(text).expect("a name");
    let key = LinkKey::new([7; 32]);
    let (subject, other) =
        (LinkSubject::Name(name("giant.bin")), LinkSubject::Name(name("other.bin")));
    let valid = LinkTicket::new(&key, 5_000, LinkId(5), &subject);
    fuzz(3, "ticket", number("FUZZ_INPUTS", INPUTS), |random| {
        let changed = random.changed(valid.reveal().as_bytes());
        let Ok(text) = std::str::from_utf8(&changed) else { return false };
        let Some(parsed) = LinkTicket::parse(text) else { return false };
        assert_eq!(parsed.reveal(), text, "two spellings of a ticket");
        assert!(parsed.verify(&key, &other, 100).is_err(), "good for another file: {text}");
        assert!(parsed.verify(&key, &subject, 5_000).is_err(), "good for ever: {text}");
        let is_good = parsed.verify(&key, &subject, 100).is_ok();
        assert!(!is_good || text == valid.reveal(), "a changed ticket is accepted: {text}");
        is_good
    });
}

#[test]
fn an_invite_is_read_as_it_is_written() {
    let key = Identity::new(&[1; 32]).expect("a key").key();
    let token = InviteToken::new([9; 20]);
    let at = ["192.168.1.7:1099", "[2001:db8::1]:1099", "exemplo.org:80"];
    let valid = InviteUrl::new(at, key, Some(token)).expect("an invite").reveal();
    fuzz(4, "invite", number("FUZZ_INPUTS", INPUTS), |random| {
        let changed = random.changed(valid.as_bytes());
        let Ok(text) = std::str::from_utf8(&changed) else { return false };
        let Ok(parsed) = InviteUrl::parse(text) else { return false };
        let again = InviteUrl::parse(&parsed.reveal()).expect("its own text");
        assert_eq!(
            (parsed.addresses(), parsed.key(), parsed.token().map(|token| token.reveal())),
            (again.addresses(), again.key(), again.token().map(|token| token.reveal())),
            "{text}"
        );
        assert!(!parsed.addresses().is_empty(), "{text}");
        true
    });
}

/// One direction to the session, and one from it.
#[derive(Default)]
struct Pipe {
    to: VecDeque<u8>,
    from: Vec<u8>,
    ended: bool,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.to.is_empty() {
            return if self.ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        self.to.read(into)
    }
}

impl RawRead for Pipe {}

impl RawWrite for Pipe {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.from.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_mapped(&mut self, _: *const u8, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Socket for Pipe {
    fn established(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn end_writing(&mut self) {}

    fn unsent(&self) -> usize {
        0
    }
}

fn tls(secret: u8) -> (Tls, TlsIdentity) {
    let identity = TlsIdentity::new(&[secret; 32]).expect("an identity");
    (Tls::new(identity.clone()).expect("TLS"), identity)
}

/// Feeds bytes to a connection in fragments, and reads. Returns the plain bytes; an error ends it.
fn feed(
    conn: &mut TcpConnection<Pipe>,
    tls: &mut Tls,
    bytes: &[u8],
    random: &mut Random,
) -> Result<Vec<u8>, Vec<u8>> {
    let (mut rest, mut plain, mut buffer) = (bytes, Vec::new(), vec![0; 20_000]);
    while !rest.is_empty() {
        let count = (1 + random.below(2 * rest.len())).min(rest.len());
        conn.socket_mut().to.extend(&rest[..count]);
        rest = &rest[count..];
        loop {
            tls.take_deferred();
            match conn.ends(Some(&mut *tls)).read(&mut buffer) {
                Ok(0) => return Err(plain),
                Ok(count) => plain.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !tls.has_deferred() => {
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(plain),
            }
        }
        let _ = conn.ends(Some(&mut *tls)).flush_held();
    }
    Ok(plain)
}

#[test]
fn a_changed_hello_neither_panics_nor_speaks() {
    let ((mut server, identity), (client, _)) = (tls(1), tls(2));
    let mut hello =
        TcpConnection::by_native_tls(Pipe::default(), &client, identity.key()).expect("a client");
    let mut client = client;
    let _ = hello.established(Some(&mut client));
    let valid = hello.socket().from.clone();
    fuzz(5, "hello", number("FUZZ_INPUTS", INPUTS), |random| {
        let changed = random.changed(&valid);
        let block = Block::of([192, 0, 2, 1].into());
        let mut conn = TcpConnection::undetected(Pipe::default(), block);
        let result = feed(&mut conn, &mut server, &changed, random);
        let is_tls = changed.first() == Some(&0x16);
        let plain = result.as_ref().unwrap_or_else(|plain| plain);
        assert!(!is_tls || plain.is_empty(), "plain bytes before a handshake");
        // The reply to a good hello.
        let is_answered = conn.socket().from.len() > 100;
        conn.release(&mut server);
        is_answered
    });
}

#[test]
fn changed_records_never_give_other_bytes() {
    let words: Vec<u8> = (0..40_000_u32).flat_map(|number| number.to_le_bytes()).collect();
    let inputs = number("FUZZ_INPUTS", INPUTS) / HANDSHAKE + 1;
    let ((mut server, identity), (mut client, _)) = (tls(1), tls(2));
    fuzz(6, "records", inputs, |random| {
        let block = Block::of([192, 0, 2, 1].into());
        let mut near = TcpConnection::by_native_tls(Pipe::default(), &client, identity.key())
            .expect("a client");
        let mut far = TcpConnection::undetected(Pipe::default(), block);
        // A change strikes in one of the flights, or in none.
        let (strikes_at, mut flights) = (random.below(12), 0);
        let (mut sent, mut received, mut is_over) = (0, Vec::new(), false);
        for _ in 0..8 {
            let is_open = near.established(Some(&mut client)).unwrap_or(false);
            if is_open && sent < words.len() {
                let count = 1 + random.below(30_000.min(words.len() - sent));
                let mut ends = near.ends(Some(&mut client));
                sent += ends.write_bytes(&words[sent..sent + count]).unwrap_or(0);
            }
            for to_server in [true, false] {
                let from = if to_server { &mut near } else { &mut far };
                let mut flight = std::mem::take(&mut from.socket_mut().from);
                if flight.is_empty() {
                    continue;
                }
                flights += 1;
                if flights == strikes_at {
                    random.change(&mut flight);
                }
                if to_server {
                    match feed(&mut far, &mut server, &flight, random) {
                        Ok(plain) => received.extend(plain),
                        Err(plain) => {
                            received.extend(plain);
                            is_over = true;
                        }
                    }
                } else {
                    near.socket_mut().to.extend(&flight);
                }
            }
            if is_over {
                break;
            }
        }
        far.release(&mut server);
        // With another first byte it is a plain connection, which a closed side refuses.
        if !far.ends(Some(&mut server)).security().is_encrypted {
            return false;
        }
        assert!(received.len() <= sent, "more bytes than were sent");
        assert!(received == words[..received.len()], "other bytes than were sent");
        !received.is_empty()
    });
}
