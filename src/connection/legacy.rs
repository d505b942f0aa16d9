//! The requesting side of a legacy protocol: a connection, a request, a response.
//!
//! ```text
//!   file:   requested --has it, with its size--> waiting for consent --yes--> bytes, to the end of the connection
//!              '-------------------------yes---------------------------------^
//!   list:   requested --> names, to the end of the connection
//! ```
//!
//! This module reads the header; the bytes of a file bypass this module. Silence ends a list where the
//! provider never closes the connection. Silence does not end a file, because silence may be a loss.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::io::recv_buffer::RecvBuffer;
use crate::io::send_queue::SendQueue;
use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::legacy::client;
use crate::protocol::legacy::music;
use crate::protocol::legacy::napster;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::{Decoded, FilePart, LegacyAnswer, RequestForm};

/// A connection on which this side sends a legacy request.
pub struct LegacyClient {
    profile: LegacyProfile,
    lists: bool,
    /// The size from the first answer, before the consent.
    said: Option<u64>,
    /// The provider is known to send no length before the bytes.
    is_plain: bool,
    form: RequestForm,
    /// The provider has spoken first: its next bytes are those of the file.
    is_greeted: bool,
    deadline: Instant,
    /// The bytes received up to the last change, and the time of that change.
    seen: usize,
    seen_at: Instant,
}

/// The next step of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyStep {
    /// More bytes are needed.
    Wait,
    /// The provider has the file, and waits for a user's consent.
    Waits,
    /// The bytes of the file follow.
    Bytes {
        /// The size, if named in the response.
        size: Option<u64>,
    },
    /// The bytes of the file follow, but the header may be part of the file: then more bytes follow
    /// than it names.
    Guess {
        /// The size by the header.
        size: u64,
    },
    /// The provider has spoken first: [`LegacyClient::ask_name`] comes next.
    Greeted,
    /// Ask in this form, on another connection.
    OtherForm(RequestForm),
}

/// A part of a file in datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceivedPart {
    /// Bytes of the file, and whether the datagram has the usual length.
    Bytes(Vec<u8>, bool),
    /// The end of the file, unless the file ends with these bytes.
    End,
    /// Datagrams were lost here.
    Lost,
}

/// The meaning of the end of a connection, or of silence, before a byte was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// The received bytes are the whole file.
    All(u64),
    /// The received bytes may be the whole file or its start.
    Unclear,
}

impl LegacyClient {
    /// Request the file `name` of the peer at `at`.
    pub fn file(
        profile: LegacyProfile,
        name: &str,
        at: SocketAddr,
        (form, is_plain): (RequestForm, bool),
        outbox: &mut SendQueue,
        now: Instant,
    ) -> LegacyClient {
        outbox.memory().with(|out| client::ask_file(profile, form, name, at, out));
        // A user's consent may precede the first answer, unless the protocol confirms earlier.
        let patience = if profile.answers_by_udp() {
            limits::HANDSHAKE_TIMEOUT
        } else if client::confirms_before_consent(profile) {
            limits::RESPONSE_TIMEOUT
        } else {
            limits::CONSENT_TIMEOUT + limits::RESPONSE_TIMEOUT
        };
        LegacyClient {
            profile,
            lists: false,
            said: None,
            is_plain,
            form,
            is_greeted: false,
            deadline: now + patience,
            seen: 0,
            seen_at: now,
        }
    }

    /// Request the list of files. `None` where the protocol has no such request.
    pub fn list(
        profile: LegacyProfile,
        outbox: &mut SendQueue,
        now: Instant,
    ) -> Option<LegacyClient> {
        let asked = outbox.memory().with(|out| client::ask_list(profile, out));
        asked.then(|| LegacyClient {
            profile,
            lists: true,
            said: None,
            is_plain: false,
            form: RequestForm::Usual,
            is_greeted: false,
            deadline: now + limits::RESPONSE_TIMEOUT,
            seen: 0,
            seen_at: now,
        })
    }

    /// True where the protocol has a request for the list of files.
    #[must_use]
    pub fn can_list(profile: LegacyProfile) -> bool {
        client::can_list(profile)
    }

    /// Read up to the next step.
    ///
    /// # Errors
    /// The error of the provider, or the reason why its response is invalid.
    pub fn step(&mut self, inbox: &mut RecvBuffer, now: Instant) -> Result<LegacyStep, ErrorReply> {
        let here = inbox.header().len();
        if here != self.seen {
            (self.seen, self.seen_at) = (here, now);
        }
        if self.lists {
            if here > limits::LEGACY_LIST_BYTES {
                return Err(ErrorReply::new(ErrorCode::TooLarge, "the peer's list never ends"));
            }
            return Ok(LegacyStep::Wait);
        }
        let decode =
            if self.is_plain { client::decode_plain_answer } else { client::decode_answer };
        if self.is_greeted && here > 0 {
            return Ok(LegacyStep::Bytes { size: None });
        }
        match decode(self.profile, self.form, inbox.header())? {
            Decoded::Partial | Decoded::Quiet { .. } => Ok(LegacyStep::Wait),
            Decoded::Whole { item: LegacyAnswer::Has(size), used } => {
                inbox.consume(used);
                if self.said.replace(size).is_some() {
                    return Err(ErrorReply::bad_request("the peer says the size twice"));
                }
                self.deadline = now + limits::CONSENT_TIMEOUT + limits::RESPONSE_TIMEOUT;
                sane(Some(size)).map(|_| LegacyStep::Waits)
            }
            Decoded::Whole { item: LegacyAnswer::Bytes(size), used } => {
                inbox.consume(used);
                sane(size.or(self.said)).map(|size| LegacyStep::Bytes { size })
            }
            Decoded::Whole { item: LegacyAnswer::Guess(size), used } => {
                inbox.consume(used);
                Ok(LegacyStep::Guess { size })
            }
            Decoded::Whole { item: LegacyAnswer::OtherForm(form), .. } => {
                Ok(LegacyStep::OtherForm(form))
            }
            Decoded::Whole { item: LegacyAnswer::Greeting, used } => {
                inbox.consume(used);
                self.is_greeted = true;
                Ok(LegacyStep::Greeted)
            }
        }
    }

    /// Send the name of the file to a provider that has spoken first.
    pub fn ask_name(name: &str, outbox: &mut SendQueue) {
        outbox.memory().with(|out| napster::ask_name(name, out));
    }

    /// True when the provider has spoken first: an answer without a byte is a missing file.
    #[must_use]
    pub fn is_greeted(&self) -> bool {
        self.is_greeted
    }

    /// The form to ask in next where this one gets no answer.
    #[must_use]
    pub fn next_form(&self) -> Option<RequestForm> {
        client::next_form(self.profile, self.form).filter(|_| !self.lists && self.seen == 0)
    }

    /// True when the file arrives in datagrams: [`LegacyClient::take_part`] reads them.
    #[must_use]
    pub fn is_in_datagrams(&self) -> bool {
        self.profile.answers_by_udp()
    }

    /// Take the next part of a file that arrives in datagrams.
    pub fn take_part(&self, inbox: &mut RecvBuffer) -> Option<ReceivedPart> {
        let (part, used) = music::decode_part(inbox.header())?;
        let part = match part {
            FilePart::Bytes { bytes, is_whole } => ReceivedPart::Bytes(bytes.to_vec(), is_whole),
            FilePart::End => ReceivedPart::End,
            FilePart::Lost => ReceivedPart::Lost,
        };
        inbox.consume(used);
        Some(part)
    }

    /// Ask for the size of a file that has arrived in datagrams.
    pub fn ask_size(&self, name: &str, outbox: &mut SendQueue) {
        outbox.memory().with(|out| music::ask_size(name, out));
    }

    /// The size in a datagram behind the end of a file; `None` where it is another answer.
    #[must_use]
    pub fn size_in(bytes: &[u8]) -> Option<u64> {
        music::size(bytes)
    }

    /// The bytes of the end of a file, where they belong to the file.
    pub const END: &'static [u8] = music::END;

    /// The meaning of the received bytes when no more can arrive; consumes the header. `None` where
    /// no byte of a file was announced.
    pub fn last(&self, inbox: &mut RecvBuffer) -> Option<Last> {
        match client::decode_at_end(self.profile, inbox.header()) {
            _ if self.lists => None,
            Decoded::Whole { item: LegacyAnswer::Bytes(Some(size)), used } => {
                inbox.consume(used);
                Some(Last::All(size))
            }
            Decoded::Quiet { used, .. } => {
                inbox.consume(used);
                Some(Last::Unclear)
            }
            _ => None,
        }
    }

    /// True when all bytes of the header's size have arrived, followed by silence.
    #[must_use]
    pub fn is_all_there(&self, inbox: &RecvBuffer, now: Instant) -> bool {
        let whole = matches!(client::decode_at_end(self.profile, inbox.header()), Decoded::Whole { used, .. } if used > 1);
        !self.lists
            && whole
            && now.saturating_duration_since(self.seen_at) >= limits::LEGACY_END_SILENCE
    }

    /// The deadline of the next step.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// True when a response without a byte may be an empty file or none: the list of files can
    /// tell.
    #[must_use]
    pub fn leaves_open(&self) -> bool {
        !self.lists && client::has_no_error(self.profile) && client::can_list(self.profile)
    }

    /// The silence that ends a transfer. `None` where only the end of the connection does.
    #[must_use]
    pub fn quiet(&self) -> Option<Duration> {
        client::ends_in_silence(self.profile).then_some(limits::LEGACY_END_SILENCE)
    }

    /// When silence is an answer: a missing or an empty file, or an empty list. `None` where the
    /// protocol has another answer, and once a byte has come.
    #[must_use]
    pub fn answer_ends(&self) -> Option<Instant> {
        let is_silent = client::has_no_error(self.profile) || self.next_form().is_some();
        (is_silent && self.seen == 0).then(|| self.seen_at + limits::LEGACY_ANSWER_SILENCE)
    }

    /// The absolute spelling of a name, for a peer that may know its files by that alone.
    #[must_use]
    pub fn absolute(profile: LegacyProfile, name: &str) -> Option<String> {
        client::absolute_name(profile, name)
    }

    /// When silence ends a list that has started.
    #[must_use]
    pub fn list_ends(&self) -> Option<Instant> {
        (self.lists && self.seen > 0).then(|| self.seen_at + limits::LEGACY_LIST_SILENCE)
    }

    /// When silence decides the meaning of a file's header.
    #[must_use]
    pub fn header_ends(&self) -> Option<Instant> {
        (!self.lists && self.seen > 1).then(|| self.seen_at + limits::LEGACY_END_SILENCE)
    }

    /// The names in a list that has ended.
    #[must_use]
    pub fn names(&self, inbox: &RecvBuffer) -> Vec<RelativeName> {
        client::names(self.profile, inbox.header())
    }

    /// True when a list that has ended has this name.
    #[must_use]
    pub fn has_named(&self, name: &str, inbox: &RecvBuffer) -> bool {
        client::lists(inbox.header(), name)
    }
}

/// A size that a file can have.
fn sane(size: Option<u64>) -> Result<Option<u64>, ErrorReply> {
    if size.is_some_and(|size| size > limits::DOWNLOAD_BYTES) {
        return Err(ErrorReply::new(ErrorCode::TooLarge, "a file of an absurd size"));
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::io::traits::RawWrite;

    /// The sent bytes.
    struct Wire(Vec<u8>);

    impl RawWrite for Wire {
        fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn write_mapped(&mut self, _: *const u8, _: usize) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn sent(mut outbox: SendQueue) -> String {
        let mut wire = Wire(Vec::new());
        outbox.write_to(&mut wire, usize::MAX, true, Instant::now()).unwrap();
        String::from_utf8(wire.0).unwrap()
    }

    fn ask(profile: LegacyProfile, now: Instant) -> (LegacyClient, String) {
        let mut outbox = SendQueue::default();
        let client = LegacyClient::file(
            profile,
            "a.mp4",
            "127.0.0.1:4000".parse().unwrap(),
            (RequestForm::Usual, false),
            &mut outbox,
            now,
        );
        (client, sent(outbox))
    }

    /// All steps of a response in one read, and its rest; the same byte by byte must agree.
    fn steps(
        profile: LegacyProfile,
        answer: &[u8],
    ) -> (Vec<Result<LegacyStep, ErrorCode>>, Vec<u8>) {
        let now = Instant::now();
        let run = |cuts: usize| {
            let (mut client, _) = ask(profile, now);
            let (mut inbox, mut said) = (RecvBuffer::default(), Vec::new());
            for (place, chunk) in answer.chunks(cuts).enumerate() {
                inbox.take(chunk).unwrap();
                loop {
                    let step = client.step(&mut inbox, now).map_err(|refusal| refusal.code);
                    if step == Ok(LegacyStep::Wait) {
                        break;
                    }
                    said.push(step);
                    if !matches!(step, Ok(LegacyStep::Waits)) {
                        let rest =
                            [inbox.header(), &answer[answer.len().min((place + 1) * cuts)..]]
                                .concat();
                        return (said, rest);
                    }
                }
            }
            (said, inbox.header().to_vec())
        };
        let whole = run(answer.len().max(1));
        assert_eq!(run(1), whole, "{:?} {}", profile, String::from_utf8_lossy(answer));
        whole
    }

    fn bytes(size: Option<u64>) -> Vec<Result<LegacyStep, ErrorCode>> {
        vec![Ok(LegacyStep::Bytes { size })]
    }

    #[test]
    fn each_protocol_has_its_own_request() {
        let now = Instant::now();
        assert_eq!(ask(LegacyProfile::NapsterUfabc, now).1, "DOWNLOAD a.mp4");
        for profile in [
            LegacyProfile::Uc3m2020,
            LegacyProfile::Uc3m2024,
            LegacyProfile::Uc3m2025,
            LegacyProfile::Uc3mFixed,
        ] {
            assert_eq!(ask(profile, now).1, "GET_FILE\0a.mp4\0");
        }
        assert_eq!(ask(LegacyProfile::Rede, now).1, "get a.mp4");
        assert_eq!(
            ask(LegacyProfile::UfabcJson, now).1,
            r#"{"method": "DOWNLOAD_REQUEST", "data": {"filename": "a.mp4", "port": 4000}}"#
        );
    }

    #[test]
    fn an_answer_in_any_fragments_is_read_and_the_bytes_behind_stay() {
        assert_eq!(steps(LegacyProfile::Uc3m2020, b"0hello"), (bytes(None), b"hello".to_vec()));
        assert_eq!(steps(LegacyProfile::Uc3m2024, b"0\0hello"), (bytes(None), b"hello".to_vec()));
        assert_eq!(
            steps(LegacyProfile::Uc3m2024Plain, b"0\x005\0hello"),
            (bytes(Some(5)), b"hello".to_vec())
        );
        assert_eq!(
            steps(LegacyProfile::Uc3m2025, b"\x005\0hello"),
            (bytes(Some(5)), b"hello".to_vec())
        );
        assert_eq!(steps(LegacyProfile::Rede, b"hello"), (bytes(None), b"hello".to_vec()));
        let both = br#"{"status": "OK", "fileSize": 5}{"status": "downloadAccepted"}hello"#;
        assert_eq!(
            steps(LegacyProfile::UfabcJson, both),
            (
                vec![Ok(LegacyStep::Waits), Ok(LegacyStep::Bytes { size: Some(5) })],
                b"hello".to_vec()
            )
        );
    }

    #[test]
    fn the_two_answers_of_profile_2020_are_told_apart_by_how_many_bytes_come() {
        let last = |answer: &[u8]| {
            let (steps, left) = steps(LegacyProfile::Uc3m2020, answer);
            assert!(steps.is_empty(), "{steps:?}");
            let (mut inbox, now) = (RecvBuffer::default(), Instant::now());
            inbox.take(&left).unwrap();
            let (client, _) = ask(LegacyProfile::Uc3m2020, now);
            let last = client.last(&mut inbox);
            (last, inbox.header().to_vec())
        };
        assert_eq!(last(b"0"), (Some(Last::All(0)), Vec::new()));
        assert_eq!(last(b"0\0\0\0\0\0"), (Some(Last::All(0)), Vec::new()));
        assert_eq!(last(b"0\0\0\0\0\x05hello"), (Some(Last::All(5)), b"hello".to_vec()));
        for cut in [&b"0\0"[..], b"0\0\0\0\0", b"0\0\0\0\0\x05hell"] {
            assert_eq!(last(cut), (Some(Last::Unclear), cut[1..].to_vec()));
        }
        // More bytes than the length: it was none.
        assert_eq!(
            steps(LegacyProfile::Uc3m2020, b"0\0\0\0\0\x05hello!"),
            (bytes(None), b"\0\0\0\0\x05hello!".to_vec())
        );
        assert_eq!(
            steps(LegacyProfile::Uc3m2020, b"0\0\xff\0\0\0hi"),
            (bytes(None), b"\0\xff\0\0\0hi".to_vec())
        );
        assert_eq!(
            steps(LegacyProfile::Uc3m2020, b"0\0\0\x0f\0\0hi"),
            (vec![Ok(LegacyStep::Guess { size: 983_040 })], b"hi".to_vec())
        );
        // The other editions have one form.
        assert_eq!(steps(LegacyProfile::Uc3mFixed, b"0\0\0\0\0\x05hello").0, bytes(None));
    }

    #[test]
    fn a_no_is_a_refusal() {
        let no = |profile, answer: &[u8]| steps(profile, answer).0;
        assert_eq!(no(LegacyProfile::Uc3m2020, b"1"), [Err(ErrorCode::NotFound)]);
        assert_eq!(no(LegacyProfile::Uc3m2025, b"\x02"), [Err(ErrorCode::Refused)]);
        assert_eq!(
            no(LegacyProfile::UfabcJson, br#"{"status": "fileNotFound"}"#),
            [Err(ErrorCode::NotFound)]
        );
        assert_eq!(
            no(LegacyProfile::UfabcJson, br#"{"status": "downloadRejected"}"#),
            [Err(ErrorCode::Refused)]
        );
        assert_eq!(
            no(
                LegacyProfile::UfabcJson,
                br#"{"status": "OK", "fileSize": 5}{"status": "OK", "fileSize": 6}"#
            ),
            [Ok(LegacyStep::Waits), Err(ErrorCode::BadRequest)]
        );
        assert!(
            matches!(no(LegacyProfile::Uc3m2020, b"HTTP/1.1 400"), answer if matches!(answer[..], [Err(_)]))
        );
    }

    #[test]
    fn no_file_is_larger_than_a_file_can_be() {
        let absurd = format!("\0{}\0", u64::MAX);
        assert!(matches!(
            steps(LegacyProfile::Uc3m2025, absurd.as_bytes()).0[..],
            [Err(ErrorCode::TooLarge)]
        ));
    }

    #[test]
    fn a_person_who_is_asked_gets_time() {
        let now = Instant::now();
        let (mut client, _) = ask(LegacyProfile::UfabcJson, now);
        let mut inbox = RecvBuffer::default();
        assert_eq!(client.deadline(), now + limits::RESPONSE_TIMEOUT);
        inbox.take(br#"{"status": "OK", "fileSize": 5}"#).unwrap();
        let later = now + limits::HANDSHAKE_TIMEOUT;
        assert_eq!(client.step(&mut inbox, later), Ok(LegacyStep::Waits));
        assert_eq!(client.step(&mut inbox, later), Ok(LegacyStep::Wait));
        assert_eq!(client.deadline(), later + limits::CONSENT_TIMEOUT + limits::RESPONSE_TIMEOUT);
        assert!(ask(LegacyProfile::Uc3m2020, now).0.deadline() > now + limits::CONSENT_TIMEOUT);
    }

    #[test]
    fn a_list_ends_in_silence_and_has_a_limit() {
        let now = Instant::now();
        let mut outbox = SendQueue::default();
        assert!(LegacyClient::list(LegacyProfile::Uc3m2024, &mut outbox, now).is_none());
        let mut client = LegacyClient::list(LegacyProfile::Rede, &mut outbox, now).unwrap();
        assert_eq!(sent(outbox), "ls");
        let mut inbox = RecvBuffer::default();
        assert_eq!(
            (client.step(&mut inbox, now), client.list_ends()),
            (Ok(LegacyStep::Wait), None)
        );
        inbox.take(b"a.mp4 ../x b.mp4 ").unwrap();
        let later = now + Duration::from_millis(10);
        assert_eq!(client.step(&mut inbox, later), Ok(LegacyStep::Wait));
        client.step(&mut inbox, later + Duration::from_millis(10)).unwrap();
        assert_eq!(client.list_ends(), Some(later + limits::LEGACY_LIST_SILENCE));
        let names: Vec<String> = client.names(&inbox).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a.mp4", "b.mp4"]);
        assert!(client.has_named("a.mp4", &inbox) && !client.has_named("a", &inbox));
        inbox.take(&vec![b'x'; limits::LEGACY_LIST_BYTES]).unwrap();
        assert_eq!(
            client.step(&mut inbox, later).map_err(|refusal| refusal.code),
            Err(ErrorCode::TooLarge)
        );
    }
}
