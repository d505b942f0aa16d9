//! Sniffers read the responses of real peers: each body, list and claim must match the requested
//! content.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use crate::oracle::{Content, Oracle};
use crate::resume_file::Meant;

/// How often a real host may repeat a request on one connection.
const MOST_REPEATS: u32 = 25;

/// The state of one connection.
#[derive(Default)]
pub struct Sniffer {
    asked: Vec<u8>,
    said: Vec<u8>,
    /// The requested root by request id; `None` where two requests have the same id.
    roots: BTreeMap<u64, Option<String>>,
    body: Option<Body>,
    /// Counts of equal requests.
    repeated: BTreeMap<u64, u32>,
    /// Not a native connection, or not a valid one.
    deaf: bool,
}

struct Body {
    left: usize,
    at: usize,
    of: Of,
}

enum Of {
    File(Content),
    List(Content),
    /// The request was ambiguous.
    Unknown,
}

impl Sniffer {
    /// Bytes of the requester; `judge` is called with each line of a real host.
    pub fn on_request(
        &mut self,
        bytes: &[u8],
        judged: bool,
        mut judge: impl FnMut(&[u8]),
        talk: impl Fn(&[u8]),
    ) {
        if self.deaf {
            return;
        }
        if self.asked.is_empty()
            && self.roots.is_empty()
            && self.said.is_empty()
            && bytes.first().is_some_and(|byte| *byte != b'{')
        {
            self.deaf = true;
            return;
        }
        self.asked.extend_from_slice(bytes);
        let mut used = 0;
        while let Some(end) = memchr::memchr(b'\n', &self.asked[used..]) {
            let line = &self.asked[used..used + end];
            used += end + 1;
            judge(line);
            talk(line);
            if judged {
                repeats(&mut self.repeated, line);
            }
            // Only these requests determine their response.
            if memchr::memmem::find(line, b"\"root\":\"").is_none() {
                continue;
            }
            let Ok(header) = serde_json::from_slice::<Value>(line) else { continue };
            if let (Some(id), Some(root)) = (header["id"].as_u64(), header["root"].as_str()) {
                let root = (!self.roots.contains_key(&id)).then(|| root.to_owned());
                self.roots.insert(id, root);
            }
        }
        self.asked.drain(..used);
    }

    /// Bytes of a responding real host.
    pub fn on_response(&mut self, at: SocketAddr, mut bytes: &[u8], oracle: &Oracle) {
        if self.deaf {
            return;
        }
        while !bytes.is_empty() {
            if let Some(body) = &mut self.body {
                let count = body.left.min(bytes.len());
                body.check(&bytes[..count], at);
                body.at += count;
                body.left -= count;
                bytes = &bytes[count..];
                if body.left == 0 {
                    self.body = None;
                }
                continue;
            }
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                self.said.extend_from_slice(bytes);
                self.deaf = self.said[0] != b'{';
                return;
            };
            let mut line = std::mem::take(&mut self.said);
            line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            if line.first() != Some(&b'{') {
                self.deaf = true;
                return;
            }
            self.header(at, &line, oracle);
        }
    }

    fn header(&mut self, at: SocketAddr, line: &[u8], oracle: &Oracle) {
        oracle.log_wire(|| format!("{at} says {}", String::from_utf8_lossy(line)));
        let of_body = memchr::memmem::find(line, b"\"length\":").is_some();
        if !of_body && memchr::memmem::find(line, b"HAVE").is_none() {
            return;
        }
        let header: Value = serde_json::from_slice(line)
            .unwrap_or_else(|error| panic!("{at} says no JSON ({error})"));
        if header["status"] == "HAVE_OK" || header["event"] == "HAVE" {
            return claims(at.ip(), &header, oracle);
        }
        let number = |key: &str| {
            header[key]
                .as_u64()
                .and_then(|number| usize::try_from(number).ok())
                .unwrap_or(usize::MAX)
        };
        let text = |key: &str| header[key].as_str().unwrap_or_default();
        let by_root = header["id"].as_u64().and_then(|id| self.roots.get(&id));
        let named = || oracle.version(at, text("name"), text("tag"));
        let content =
            match by_root {
                Some(None) => None,
                Some(Some(root)) => Some(oracle.content(root).unwrap_or_else(|| {
                    panic!("{at} answers for a root that nobody has: {header}")
                })),
                None => Some(named().unwrap_or_else(|| {
                    panic!("{at} gives a version of {} that never was: {header}", text("name"))
                })),
            };
        let of = match (header["status"].as_str(), content) {
            (Some("FETCH_OK"), Some(content)) => Of::File(content),
            (Some("PIECES_OK"), Some(content)) => {
                assert!(
                    oracle.content(text("root")).is_some_and(|other| other.is(content)),
                    "{at} gives the list of another content: {header}"
                );
                oracle.count(|c| c.lists += 1);
                Of::List(content)
            }
            (Some("FETCH_OK" | "PIECES_OK"), None) => Of::Unknown,
            _ => return,
        };
        if let Some(content) = content {
            assert_eq!(number("size"), content.size, "{at} says another size: {header}");
        }
        oracle.count(|c| c.bodies += 1);
        self.body =
            (number("length") > 0).then(|| Body { left: number("length"), at: number("from"), of });
    }
}

impl Body {
    fn check(&self, bytes: &[u8], at: SocketAddr) {
        let range = self.at..self.at + bytes.len();
        let right = match self.of {
            Of::File(content) => content.bytes().get(range.clone()) == Some(bytes),
            Of::List(content) => content.list().bytes().get(range.clone()) == Some(bytes),
            Of::Unknown => true,
        };
        assert!(right, "{at} gives wrong bytes, {range:?}");
    }
}

/// A real host announces its pieces.
fn claims(ip: IpAddr, header: &Value, oracle: &Oracle) {
    let root = header["root"].as_str().unwrap_or_default();
    let content = oracle
        .content(root)
        .unwrap_or_else(|| panic!("{ip} has pieces of a root that nobody has: {header}"));
    let Some(disk) = oracle.disk(ip) else { return };
    oracle.count(|c| c.claims += 1);
    if header["whole"] == true {
        return assert!(
            oracle.has_been(ip, None, content),
            "{ip} says that it has all of what it never had: {header}"
        );
    }
    // A download finished or dropped meanwhile was present at the announcement.
    let Some(bytes) = disk.part_of(&Meant::Root(root.to_owned())) else { return };
    for run in header["pieces"].as_array().into_iter().flatten() {
        let (first, count) = (run[0].as_u64().unwrap_or(u64::MAX), run[1].as_u64().unwrap_or(1));
        for piece in first..first + count {
            let right = content.piece(piece);
            let start = usize::try_from(piece << 20).unwrap_or(usize::MAX);
            assert!(
                bytes.get(start..start + right.len()) == Some(right),
                "{ip} says that it has piece {piece} of {root}, and does not"
            );
        }
    }
}

/// A real host must not repeat a refused request for ever.
fn repeats(repeated: &mut BTreeMap<u64, u32>, line: &[u8]) {
    let Some(what) = memchr::memmem::find(line, b"\"method\":\"").map(|at| &line[at..]) else {
        return;
    };
    if what.starts_with(b"\"method\":\"PING")
        || what.starts_with(b"\"method\":\"SEARCH")
        || what.starts_with(b"\"method\":\"CANCEL")
    {
        return;
    }
    let hash = what.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let count = repeated.entry(hash).or_default();
    *count += 1;
    assert!(
        *count <= MOST_REPEATS,
        "the same is asked again and again: {}",
        String::from_utf8_lossy(line)
    );
}
