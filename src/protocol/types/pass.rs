//! A pass: the server's signed word on a member, which every provider checks offline.
//!
//! The text is a PASETO of version 4, purpose `public`, without a footer: `v4.public.` and base64url
//! of the claims with an Ed25519 signature behind. The signature covers PASETO's pre-authentication
//! encoding of header, claims, footer and the implicit assertion `cardume pass`. So no signature for
//! another purpose is a pass.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::protocol::types::account::{Key, UserName};
use crate::protocol::types::base64url;
use crate::protocol::types::member::{Groups, MemberRole};

/// Version and purpose; no other is accepted, so that a text can't choose its own algorithm.
const HEADER: &str = "v4.public.";
/// Signed, but not sent: the purpose of the signature.
const ASSERTION: &[u8] = b"cardume pass";
/// The version of the claims.
const VERSION: u64 = 1;
/// Bytes of an Ed25519 signature.
const SIGNATURE: usize = 64;

/// The rights of a member until a time in index seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The member's key: a pass is worth nothing without a proof of the key.
    pub key: Key,
    /// The member's name.
    pub name: UserName,
    /// The member's role.
    pub role: MemberRole,
    /// The member's groups.
    pub groups: Groups,
    /// Time of issue.
    pub issued: u64,
    /// The first second without rights, at most [`PASS_SECONDS`](limits::PASS_SECONDS) later.
    pub expires: u64,
}

/// The claims in JSON.
#[derive(Serialize, Deserialize)]
struct Claims<'a> {
    v: u64,
    #[serde(borrow)]
    k: Cow<'a, str>,
    #[serde(borrow)]
    n: Cow<'a, str>,
    #[serde(borrow)]
    r: Cow<'a, str>,
    #[serde(borrow)]
    g: Vec<Cow<'a, str>>,
    i: u64,
    x: u64,
}

/// Why a pass is refused. The pass itself is never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPass {
    /// More than 2,048 bytes.
    Long,
    /// Another kind of token, or none.
    Header,
    /// No base64url in its one spelling, or too short for a signature.
    Encoding,
    /// No key of the server has signed the claims as a pass.
    Signature,
    /// A claim is missing, invalid or there twice.
    Claims,
    /// The pass of another member.
    Member,
    /// The time is over: a new pass helps.
    Expired,
}

impl fmt::Display for BadPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadPass::Long => write!(f, "a pass has at most {} bytes", limits::PASS_BYTES),
            BadPass::Header => write!(f, "a pass begins with {HEADER}"),
            BadPass::Encoding => f.write_str("the pass is damaged"),
            BadPass::Signature => f.write_str("the pass is not signed by the server"),
            BadPass::Claims => f.write_str("a claim of the pass is invalid"),
            BadPass::Member => f.write_str("the pass belongs to another member"),
            BadPass::Expired => f.write_str("the pass has expired; ask the server for another"),
        }
    }
}

impl std::error::Error for BadPass {}

impl Pass {
    /// The signed text. `sign` is Ed25519 with the key of the server.
    #[must_use]
    pub fn sign(&self, sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE]) -> PassText {
        let payload = self.claims();
        let signature = sign(&signed_text(&payload, b"", ASSERTION));
        PassText([&payload[..], &signature].concat().into())
    }

    /// Check that the pass is the one of `key`, and the time in index seconds. `key` must be proven
    /// on the connection.
    ///
    /// # Errors
    /// [`BadPass::Member`] or [`BadPass::Expired`].
    pub fn permits(&self, key: &Key, now: u64) -> Result<(), BadPass> {
        if self.key != *key {
            Err(BadPass::Member)
        } else if now >= self.expires {
            Err(BadPass::Expired)
        } else {
            Ok(())
        }
    }

    fn claims(&self) -> Vec<u8> {
        let claims = Claims {
            v: VERSION,
            k: self.key.to_string().into(),
            n: Cow::Borrowed(&self.name),
            r: self.role.as_str().into(),
            g: self.groups.iter().map(|group| Cow::Borrowed(&**group)).collect(),
            i: self.issued,
            x: self.expires,
        };
        // Text and numbers are always JSON; an empty payload would be refused by every verifier.
        serde_json::to_vec(&claims).unwrap_or_default()
    }

    /// Decode claims. serde refuses a known claim that is there twice, and skips unknown ones.
    fn from_claims(payload: &[u8]) -> Option<Pass> {
        // serde would take a list of the values as well.
        if payload.first() != Some(&b'{') {
            return None;
        }
        let claims: Claims<'_> = serde_json::from_slice(payload).ok()?;
        let groups = Groups::parse(claims.g.iter().map(|name| &**name))?;
        let is_whole = groups.len() == claims.g.len() && groups.fit_a_member();
        // A longer life would outlast the list of revoked keys.
        let life = claims.x.checked_sub(claims.i)?;
        let is_short = life <= limits::PASS_SECONDS && claims.x <= limits::LARGEST_INTEGER;
        if claims.v != VERSION || !is_whole || !is_short {
            return None;
        }
        Some(Pass {
            key: Key::parse(&claims.k)?,
            name: UserName::new(&claims.n).ok()?,
            role: MemberRole::parse(&claims.r)?,
            groups,
            issued: claims.i,
            expires: claims.x,
        })
    }
}

/// A pass as sent, not verified yet. `Debug` hides the text, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct PassText(Rc<[u8]>);

impl PassText {
    /// Check the form of a text.
    ///
    /// # Errors
    /// [`BadPass::Long`], [`BadPass::Header`] or [`BadPass::Encoding`].
    pub fn parse(text: &str) -> Result<PassText, BadPass> {
        if text.len() > limits::PASS_BYTES {
            return Err(BadPass::Long);
        }
        let body = text.strip_prefix(HEADER).ok_or(BadPass::Header)?;
        // A footer would follow a dot, which is no digit.
        base64url::decode_up_to(body, limits::PASS_BYTES)
            .filter(|bytes| bytes.len() > SIGNATURE)
            .map(|bytes| PassText(bytes.into()))
            .ok_or(BadPass::Encoding)
    }

    /// Verify the signature by any of the keys, then decode the claims. The server has two keys
    /// while the next one replaces the old one.
    ///
    /// # Errors
    /// [`BadPass::Signature`] or [`BadPass::Claims`].
    pub fn verify(&self, server_keys: &[Key]) -> Result<Pass, BadPass> {
        let payload = verified(&self.0, b"", ASSERTION, server_keys).ok_or(BadPass::Signature)?;
        Pass::from_claims(payload).ok_or(BadPass::Claims)
    }

    /// The text, for the wire only.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{HEADER}{}", base64url::encode(&self.0))
    }
}

impl fmt::Debug for PassText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PassText(..)")
    }
}

/// The payload before the signature, if one of the keys made the signature.
fn verified<'a>(
    bytes: &'a [u8],
    footer: &[u8],
    assertion: &[u8],
    keys: &[Key],
) -> Option<&'a [u8]> {
    let (payload, signature) = bytes.split_last_chunk()?;
    let text = signed_text(payload, footer, assertion);
    keys.iter().any(|key| key.verifies(&text, signature)).then_some(payload)
}

/// The bytes that are signed.
fn signed_text(payload: &[u8], footer: &[u8], assertion: &[u8]) -> Vec<u8> {
    pre_auth(&[HEADER.as_bytes(), payload, footer, assertion])
}

/// PASETO's pre-authentication encoding: the number of pieces, then each piece behind its length.
/// No two lists of pieces have the same encoding.
fn pre_auth(pieces: &[&[u8]]) -> Vec<u8> {
    let room = 8 + pieces.iter().map(|piece| 8 + piece.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(room);
    bytes.extend_from_slice(&(pieces.len() as u64).to_le_bytes());
    for piece in pieces {
        // The standard clears the top bit of a length; no slice is that long.
        bytes.extend_from_slice(&(piece.len() as u64).to_le_bytes());
        bytes.extend_from_slice(piece);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;
    use crate::protocol::types::ids::hex;
    use crate::protocol::types::mutations::Mutations;

    struct Signer(Ed25519KeyPair);

    impl Signer {
        fn new(seed: [u8; 32]) -> Signer {
            Signer(Ed25519KeyPair::from_seed_unchecked(&seed).unwrap())
        }

        fn key(&self) -> Key {
            Key::new(self.0.public_key().as_ref().try_into().unwrap()).unwrap()
        }

        fn sign(&self, text: &[u8]) -> [u8; 64] {
            self.0.sign(text).as_ref().try_into().unwrap()
        }

        /// A pass with any payload.
        fn text(&self, payload: &[u8], footer: &[u8], assertion: &[u8]) -> PassText {
            let signature = self.sign(&signed_text(payload, footer, assertion));
            PassText([payload, &signature].concat().into())
        }
    }

    fn server() -> Signer {
        Signer::new([1; 32])
    }

    fn pass() -> Pass {
        Pass {
            key: Signer::new([2; 32]).key(),
            name: UserName::new("ana maria").unwrap(),
            role: MemberRole::Share,
            groups: Groups::parse(["turma-a", "fleet"]).unwrap(),
            issued: 1_000,
            expires: 1_900,
        }
    }

    fn signed() -> PassText {
        pass().sign(|text| server().sign(text))
    }

    fn long_pass() -> Pass {
        let names: Vec<String> =
            (b'a'..=b'p').map(|c| char::from(c).to_string().repeat(32)).collect();
        Pass {
            // A quote takes two bytes in JSON.
            name: UserName::new(&"\"".repeat(limits::NAME_BYTES)).unwrap(),
            role: MemberRole::Admin,
            groups: Groups::parse(names.iter().map(String::as_str)).unwrap(),
            issued: limits::LARGEST_INTEGER - 900,
            expires: limits::LARGEST_INTEGER,
            ..pass()
        }
    }

    #[test]
    fn the_official_vectors_of_v4_public_hold() {
        // Tests 4-S-1 to 4-S-3 of the PASETO test vectors: footer, assertion, signature.
        let seed = "b4cbfb43df4ce210727d953e4a713307fa19bb7d9f85041438d9e11b942a3774";
        let key = "1eb9dbbbbc047c03fd70604e0071f0987e16b28b757225c11f00415d0e20b1a2";
        let payload =
            br#"{"data":"this is a signed message","exp":"2022-01-01T00:00:00+00:00"}"#.as_slice();
        let kid = br#"{"kid":"zVhMiPBP9fRf2snEcT7gFTioeA9COcNy9DfgL1W60haN"}"#.as_slice();
        let vectors = [
            (
                b"".as_slice(),
                b"".as_slice(),
                "v4.public.eyJkYXRhIjoidGhpcyBpcyBhIHNpZ25lZCBtZXNzYWdlIiwiZXhwIjoiMjAyMi0wMS0wMVQwMDowMDowMCswMDowMCJ9bg_XBBzds8lTZShVlwwKSgeKpLT3yukTw6JUz3W4h_ExsQV-P0V54zemZDcAxFaSeef1QlXEFtkqxT1ciiQEDA",
            ),
            (
                kid,
                b"",
                "v4.public.eyJkYXRhIjoidGhpcyBpcyBhIHNpZ25lZCBtZXNzYWdlIiwiZXhwIjoiMjAyMi0wMS0wMVQwMDowMDowMCswMDowMCJ9v3Jt8mx_TdM2ceTGoqwrh4yDFn0XsHvvV_D0DtwQxVrJEBMl0F2caAdgnpKlt4p7xBnx1HcO-SPo8FPp214HDw",
            ),
            (
                kid,
                br#"{"test-vector":"4-S-3"}"#,
                "v4.public.eyJkYXRhIjoidGhpcyBpcyBhIHNpZ25lZCBtZXNzYWdlIiwiZXhwIjoiMjAyMi0wMS0wMVQwMDowMDowMCswMDowMCJ9NPWciuD3d0o5eXJXG5pJy-DiVEoyPYWs1YSTwWHNJq6DZD3je5gf-0M4JR9ipdUSJbIovzmBECeaWmaqcaP0DQ",
            ),
        ];
        let signer = Signer::new(hex(seed).unwrap());
        assert_eq!(signer.key(), Key::parse(key).unwrap());
        for (place, (footer, assertion, text)) in vectors.into_iter().enumerate() {
            assert_eq!(signer.text(payload, footer, assertion).reveal(), text);
            let parsed = PassText::parse(text).unwrap();
            let keys = [server().key(), signer.key()];
            assert_eq!(verified(&parsed.0, footer, assertion, &keys), Some(payload));
            for (other, (footer, assertion, _)) in vectors.into_iter().enumerate() {
                let holds = verified(&parsed.0, footer, assertion, &keys).is_some();
                assert_eq!(holds, place == other);
            }
            // The footer of the second and third vector follows a dot: no pass has one.
            let footed = format!("{text}.{}", base64url::encode(kid));
            assert_eq!(PassText::parse(&footed), Err(BadPass::Encoding));
            assert_eq!(parsed.verify(&keys), Err(BadPass::Signature));
        }
    }

    #[test]
    fn pieces_are_encoded_as_in_the_standard() {
        assert_eq!(pre_auth(&[]), [0; 8]);
        assert_eq!(pre_auth(&[b""]), *b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(pre_auth(&[b"test"]), *b"\x01\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0test");
        assert_ne!(pre_auth(&[b"a", b"b"]), pre_auth(&[b"ab", b""]));
    }

    #[test]
    fn a_pass_tells_its_claims() {
        let text = signed().reveal();
        let key = server().key();
        let read = PassText::parse(&text).unwrap();
        assert_eq!((read.clone(), read.verify(&[key])), (signed(), Ok(pass())));
        // The next key of the server may stand anywhere in the list.
        let other = Signer::new([3; 32]).key();
        assert_eq!(read.verify(&[other, key]), Ok(pass()));
        assert_eq!(pass().claims(), br#"{"v":1,"k":"8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394","n":"ana maria","r":"share","g":["fleet","turma-a"],"i":1000,"x":1900}"#);
        assert_eq!(format!("{read:?}"), "PassText(..)");
    }

    #[test]
    fn a_pass_is_for_one_member_and_a_time() {
        let pass = pass();
        assert_eq!(pass.permits(&pass.key, 0), Ok(()));
        assert_eq!(pass.permits(&pass.key, 1_899), Ok(()));
        for now in [1_900, 1_901, u64::MAX] {
            assert_eq!(pass.permits(&pass.key, now), Err(BadPass::Expired));
        }
        let other = Signer::new([3; 32]).key();
        assert_eq!(pass.permits(&other, 1_000), Err(BadPass::Member));
        assert_eq!(pass.permits(&server().key(), 1_000), Err(BadPass::Member));
    }

    #[test]
    fn the_longest_pass_fits() {
        let text = long_pass().sign(|text| server().sign(text)).reveal();
        assert_eq!(text.len(), 1_716);
        let read = PassText::parse(&text).unwrap().verify(&[server().key()]);
        assert_eq!(read, Ok(long_pass()));
    }

    #[test]
    fn another_signature_is_none() {
        let (key, payload) = (server().key(), pass().claims());
        let other = Signer::new([3; 32]);
        for text in [
            other.text(&payload, b"", ASSERTION),
            server().text(&payload, b"", b""),
            server().text(&payload, b"", b"cardume link"),
            server().text(&payload, b"", b"cardume pass\0"),
            server().text(&payload, ASSERTION, b""),
            server().text(&payload, b"{}", ASSERTION),
            // A signature of the bare claims.
            PassText([&payload[..], &server().sign(&payload)].concat().into()),
        ] {
            assert_eq!(text.verify(&[key]), Err(BadPass::Signature));
        }
        assert_eq!(signed().verify(&[]), Err(BadPass::Signature));
        assert_eq!(signed().verify(&[other.key(), pass().key]), Err(BadPass::Signature));
        assert_eq!(server().text(&payload, b"", ASSERTION).verify(&[key]), Ok(pass()));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let key = server().key();
        let bytes = signed().0;
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.to_vec();
                changed[place] ^= 1 << bit;
                let text = PassText(changed.into());
                assert_eq!(text.verify(&[key]), Err(BadPass::Signature), "{place} {bit}");
            }
        }
        for length in 0..bytes.len() {
            let cut = PassText(bytes[..length].into());
            assert_eq!(cut.verify(&[key]), Err(BadPass::Signature), "{length}");
        }
        let longer = PassText([&bytes[..], &[0]].concat().into());
        assert_eq!(longer.verify(&[key]), Err(BadPass::Signature));
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let (key, text) = (server().key(), signed().reveal());
        for place in 0..text.len() {
            for other in ["A", "_", "=", ".", "+", " ", "\0", "\u{e1}", ""] {
                let changed = [&text[..place], other, &text[place + 1..]].concat();
                let read = PassText::parse(&changed).and_then(|pass| pass.verify(&[key]));
                assert_eq!(read.is_ok(), changed == text, "{changed}");
            }
            let cut = PassText::parse(&text[..place]).and_then(|pass| pass.verify(&[key]));
            assert!(cut.is_err(), "{place}");
        }
    }

    #[test]
    fn a_text_of_another_form_is_refused_with_its_cause() {
        let text = signed().reveal();
        let body = text.strip_prefix(HEADER).unwrap();
        for header in [
            "v4.local.",
            "v3.public.",
            "v2.public.",
            "v4.public",
            "V4.public.",
            "v4.PUBLIC.",
            "v4..",
            "",
            " v4.public.",
            "eyJhbGciOiJub25lIn0.",
        ] {
            let other = format!("{header}{body}");

            assert_eq!(PassText::parse(&other), Err(BadPass::Header), "{header}");
        }
        let short = base64url::encode(&[0; SIGNATURE]);
        for end in [
            "",
            &short,
            &format!("{body}."),
            &format!("{body}.e30"),
            &format!("{body}="),
            &format!("{body}\n"),
            &format!(".{body}"),
        ] {
            assert_eq!(PassText::parse(&format!("{HEADER}{end}")), Err(BadPass::Encoding), "{end}");
        }
        let digits = limits::PASS_BYTES - HEADER.len();
        let most = format!("{HEADER}{}", "A".repeat(digits / 4 * 4));
        assert!(PassText::parse(&most).is_ok_and(|pass| pass.reveal() == most));
        let beyond = format!("{HEADER}{}", "A".repeat(digits + 1));
        assert_eq!(PassText::parse(&beyond), Err(BadPass::Long));
        assert_eq!(PassText::parse(&"v".repeat(1 << 20)), Err(BadPass::Long));
    }

    #[test]
    fn unused_bits_of_the_last_digit_are_zero() {
        // Payloads of all three lengths of a last group.
        for filler in ["", " ", "  "] {
            let payload = [&pass().claims()[..], filler.as_bytes()].concat();
            let text = server().text(&payload, b"", ASSERTION).reveal();
            let (front, last) = text.split_at(text.len() - 1);
            let accepted: Vec<char> = ('\0'..='\u{7f}')
                .filter(|digit| {
                    PassText::parse(&format!("{front}{digit}"))
                        .is_ok_and(|pass| pass.verify(&[server().key()]).is_ok())
                })
                .collect();
            assert_eq!(accepted, last.chars().collect::<Vec<_>>());
        }
    }

    #[test]
    fn claims_are_complete_valid_and_there_once() {
        let read = |claims: &str| {
            server().text(claims.as_bytes(), b"", ASSERTION).verify(&[server().key()])
        };
        let good = String::from_utf8(pass().claims()).unwrap();
        assert_eq!(read(&good), Ok(pass()));
        let changed = |from: &str, to: &str| {
            assert!(good.contains(from));
            good.replacen(from, to, 1)
        };
        let same = [
            // Claims of a later version, in any order and spelling.
            changed("{", r#"{"z":{"v":2,"k":[1e999]},"z":null,"#),
            changed("\"k\"", r#""\u006b""#),
            changed("ana maria", r"ana\u0020maria"),
            changed(",\"r\"", " ,\n\"r\""),
            changed(r#"["fleet","turma-a"]"#, r#"["turma-a","fleet"]"#),
        ];
        for claims in same {
            assert_eq!(read(&claims), Ok(pass()), "{claims}");
        }
        let small = pass().key.to_string().to_uppercase();
        let groups = (0..17).map(|n| format!("\"g{n}\"")).collect::<Vec<_>>().join(",");
        let bad = [
            changed("\"v\":1", "\"v\":2"),
            changed("\"v\":1", "\"v\":0"),
            changed("\"v\":1", "\"v\":1.0"),
            changed("\"v\":1", "\"v\":\"1\""),
            changed("\"v\":1,", ""),
            changed("\"v\":1", "\"v\":1,\"v\":1"),
            changed("\"v\":1", "\"v\":1,\"\\u0076\":1"),
            changed("\"v\":1", "\"V\":1"),
            changed(&pass().key.to_string(), &small),
            changed(&pass().key.to_string(), &pass().key.to_string()[2..]),
            // The identity element proves nothing.
            changed(&pass().key.to_string(), &format!("01{}", "0".repeat(62))),
            changed("ana maria", ""),
            changed("ana maria", "../ana"),
            changed("ana maria", r"ana\u0000"),
            changed("ana maria", r"ana\ud800"),
            changed("ana maria", r"\u202eana"),
            changed("ana maria", &"x".repeat(256)),
            changed("\"share\"", "\"Share\""),
            changed("\"share\"", "\"root\""),
            changed("\"share\"", "null"),
            changed("\"share\"", "\"share\",\"r\":\"admin\""),
            changed("\"fleet\"", "\"all\""),
            changed("\"fleet\"", "\"public\""),
            changed("\"fleet\"", "\"turma-a\""),
            changed("\"fleet\"", "\"Fleet\""),
            changed("\"fleet\"", "7"),
            changed("\"fleet\",\"turma-a\"", &groups),
            changed(r#"["fleet","turma-a"]"#, "\"fleet\""),
            changed("\"i\":1000", "\"i\":999"),
            changed("\"i\":1000", "\"i\":-1"),
            changed("\"i\":1000", "\"i\":1901"),
            changed("\"x\":1900", "\"x\":1901"),
            changed("\"x\":1900", "\"x\":1e3"),
            changed("\"x\":1900", "\"x\":null"),
            changed("\"i\":1000,\"x\":1900", "\"i\":9007199254740991,\"x\":9007199254740992"),
            changed(
                "\"i\":1000,\"x\":1900",
                "\"i\":18446744073709551615,\"x\":18446744073709551616",
            ),
            format!(" {good}"),
            format!("{good}{good}"),
            format!("{good},"),
            good[..good.len() - 1].to_owned(),
            format!("[{good}]"),
            format!("[1,\"{}\",\"ana\",\"share\",[],1000,1900]", pass().key),
            "{}".to_owned(),
            "null".to_owned(),
            "x".to_owned(),
        ];
        for claims in bad {
            assert_eq!(read(&claims), Err(BadPass::Claims), "{claims}");
        }
        // Not UTF-8.
        let mut bytes = good.into_bytes();
        let name = bytes.windows(3).position(|part| part == b"ana").unwrap();
        bytes[name] = 0xff;
        let text = server().text(&bytes, b"", ASSERTION);
        assert_eq!(text.verify(&[server().key()]), Err(BadPass::Claims));
    }

    #[test]
    fn no_mutation_of_a_text_is_a_pass() {
        let (key, text) = (server().key(), signed().reveal());
        let (mut same, mut checked) = (0, 0);
        for changed in Mutations::new(&text, 20_261).take(200_000) {
            let Ok(pass) = PassText::parse(&changed) else { continue };
            // One spelling: the bytes tell the text.
            assert_eq!(pass.reveal(), changed);
            same += usize::from(changed == text);
            // The signature takes time; thousands are enough.
            if checked < 4_000 {
                checked += 1;
                assert_eq!(pass.verify(&[key]).is_ok(), changed == text, "{changed}");
            }
        }
        assert!(checked == 4_000 && same > 0);
    }

    #[test]
    fn mutated_claims_are_valid_or_refused() {
        let good = String::from_utf8(pass().claims()).unwrap();
        let mut accepted = 0;
        for changed in Mutations::new(&good, 7).take(200_000) {
            let Some(pass) = Pass::from_claims(changed.as_bytes()) else { continue };
            accepted += 1;
            assert_eq!(Pass::from_claims(&pass.claims()), Some(pass.clone()), "{changed}");
            assert!(
                pass.expires - pass.issued <= limits::PASS_SECONDS && pass.groups.fit_a_member()
            );
        }
        assert!(accepted > 100, "{accepted}");
    }

    #[test]
    fn causes_do_not_show_the_pass() {
        for error in [
            BadPass::Long,
            BadPass::Header,
            BadPass::Encoding,
            BadPass::Signature,
            BadPass::Claims,
            BadPass::Member,
            BadPass::Expired,
        ] {
            assert!(error.to_string().contains("pass"));
        }
    }
}
