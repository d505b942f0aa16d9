//! Passes on standard input and output, for a second implementation; see `scripts/check-pass.sh`.
//!
//! `pass_voice sign` reads the 64 hex digits of a server's secret and prints a pass.
//! `pass_voice verify KEY` reads a pass and prints its claims, or fails with the cause.
//! `pass_voice time` prints the cost of a signature and of a verification.

use std::hint::black_box;
use std::time::Instant;

use cardume::limits;
use cardume::protocol::types::account::{Key, UserName};
use cardume::protocol::types::ids::ContentHash;
use cardume::protocol::types::member::{Groups, MemberRole};
use cardume::protocol::types::pass::{Pass, PassText};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// Signatures per measurement: about a second.
const ROUNDS: u32 = 20_000;

/// The key pair of 32 secret bytes; hex digits are those of any 32 bytes.
fn pair_of(seed: &str) -> Option<Ed25519KeyPair> {
    let seed = ContentHash::parse(seed.trim())?;
    Ed25519KeyPair::from_seed_unchecked(&seed.0).ok()
}

fn key_of(pair: &Ed25519KeyPair) -> Option<Key> {
    Key::new(pair.public_key().as_ref().try_into().ok()?)
}

fn pass(key: Key) -> Option<Pass> {
    Some(Pass {
        key,
        name: UserName::new("ana \"a\u{e7}a\u{ed}\"").ok()?,
        role: MemberRole::Share,
        groups: Groups::parse(["turma-a", "fleet"])?,
        issued: 1_000,
        expires: 1_000 + limits::PASS_SECONDS,
    })
}

fn sign(pass: &Pass, pair: &Ed25519KeyPair) -> PassText {
    pass.sign(|text| {
        let mut signature = [0; 64];
        signature.copy_from_slice(pair.sign(text).as_ref());
        signature
    })
}

fn line() -> Option<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).ok()?;
    Some(line.trim_end_matches('\n').to_owned())
}

fn measure() -> Option<String> {
    let pair = pair_of(&"07".repeat(32))?;
    let key = key_of(&pair)?;
    let pass = pass(key)?;
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        black_box(sign(black_box(&pass), &pair).reveal());
    }
    let signing = begin.elapsed() / ROUNDS;
    let text = sign(&pass, &pair).reveal();
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        let read = PassText::parse(black_box(&text)).and_then(|text| text.verify(&[key]));
        black_box(read).ok()?;
    }
    let verifying = begin.elapsed() / ROUNDS;
    Some(format!("{} bytes: sign {signing:.1?}, verify {verifying:.1?}", text.len()))
}

fn main() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let said = match args[..] {
        ["sign"] => {
            let pair =
                line().and_then(|seed| pair_of(&seed)).ok_or("no secret of 64 hex digits")?;
            key_of(&pair).and_then(pass).map(|pass| sign(&pass, &pair).reveal())
        }
        ["verify", key] => {
            let key = Key::parse(key).ok_or("no key of 64 hex digits")?;
            let text = line().ok_or("no pass")?;
            let read = PassText::parse(&text).and_then(|text| text.verify(&[key]));
            read.map(|pass| {
                let Pass { key, name, role, groups, issued, expires } = pass;
                Some(format!("{key} {role} {groups} {issued} {expires} {name}"))
            })
            .map_err(|error| error.to_string())?
        }
        ["time"] => measure(),
        _ => return Err("usage: pass_voice sign | verify KEY | time".to_owned()),
    };
    println!("{}", said.ok_or("no pass can be made")?);
    Ok(())
}
