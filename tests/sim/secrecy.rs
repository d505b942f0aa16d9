//! What a closed world keeps from others: an oracle of every plain byte that a process reads, and
//! of every byte that a real host sends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::oracle::Content;

/// A file is recognised by its bytes at each multiple of this offset.
const STRIDE: usize = 64;
/// So many bytes at each of these offsets, which no two contents share by chance.
const WIDTH: usize = 8;
/// Bits of the filter in front of the table.
const FILTER_BITS: u32 = 20;
/// The record types of TLS.
const RECORD_TYPES: [u8; 4] = [0x14, 0x15, 0x16, 0x17];
/// The only plain bytes of a closed host: its refusal.
const PLAIN_REFUSAL: &[u8] = b"{\"cardume\":1,\"error\":{\"code\":\"encrypted_only\"";

/// A connection and one of its sides.
type End = (usize, usize);

/// The oracle of one closed world.
#[derive(Default)]
pub struct Secrecy {
    files: Vec<SecretFile>,
    /// Sorted windows, with the number of their file.
    windows: Vec<(u64, usize)>,
    filter: Vec<bool>,
    /// The last bytes of each direction, for windows and names across two reads.
    tails: BTreeMap<End, Vec<u8>>,
    /// Output of each end, by records.
    records: BTreeMap<End, Records>,
    /// Bytes of secret files that were read by machines that may.
    pub seen_by_readers: u64,
    /// Plain bytes that were checked for secrets.
    pub checked: u64,
}

/// A file of a group.
struct SecretFile {
    name: String,
    /// Machines that may see the file, and until when.
    readers: BTreeMap<IpAddr, u64>,
}

/// The state of one direction on the wire.
#[derive(Default)]
struct Records {
    header: Vec<u8>,
    /// Bytes left of the current record.
    left: usize,
    /// The bytes of a refusal without TLS.
    plain: Vec<u8>,
}

fn window(bytes: &[u8]) -> u64 {
    let mut window = [0; WIDTH];
    window.copy_from_slice(&bytes[..WIDTH]);
    u64::from_le_bytes(window)
}

fn filtered(window: u64) -> usize {
    let hash = window.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_BITS);
    usize::try_from(hash).unwrap_or(0)
}

impl Secrecy {
    /// Adds a file that only these machines may see.
    pub fn add(&mut self, name: &str, content: Content, readers: &BTreeSet<IpAddr>) {
        let number = self.files.len();
        let readers = readers.iter().map(|ip| (*ip, u64::MAX)).collect();
        self.files.push(SecretFile { name: name.to_owned(), readers });
        self.filter.resize(1 << FILTER_BITS, false);
        for bytes in content.bytes().chunks(STRIDE).filter(|chunk| chunk.len() >= WIDTH) {
            let window = window(bytes);
            self.filter[filtered(window)] = true;
            self.windows.push((window, number));
        }
        self.windows.sort_unstable();
    }

    /// True for a machine that may see this file, secret or not.
    pub fn is_reader(&self, ip: IpAddr, name: &str, now: u64) -> bool {
        let file = self.files.iter().find(|file| file.name == name);
        file.is_none_or(|file| file.readers.get(&ip).is_some_and(|until| now <= *until))
    }

    /// A machine may see no secret from this time on.
    pub fn shut_out(&mut self, ip: IpAddr, from: u64) {
        for file in &mut self.files {
            if let Some(until) = file.readers.get_mut(&ip) {
                *until = (*until).min(from);
            }
        }
    }

    /// A process on `ip` has read these plain bytes.
    pub fn was_read(&mut self, end: End, ip: IpAddr, bytes: &[u8], now: u64) {
        let may = |file: &SecretFile| file.readers.get(&ip).is_some_and(|until| now <= *until);
        if self.files.iter().all(may) {
            self.seen_by_readers += bytes.len() as u64;
            return;
        }
        self.checked += bytes.len() as u64;
        let mut all = self.tails.remove(&end).unwrap_or_default();
        all.extend_from_slice(bytes);
        for file in self.files.iter().filter(|file| !may(file)) {
            assert!(
                memchr::memmem::find(&all, file.name.as_bytes()).is_none(),
                "{ip} learns of {}, which is for others: {}",
                file.name,
                String::from_utf8_lossy(&all)
            );
        }
        for bytes in all.windows(WIDTH) {
            let window = window(bytes);
            if !self.filter[filtered(window)] {
                continue;
            }
            let first = self.windows.partition_point(|(other, _)| *other < window);
            for (_, number) in
                self.windows[first..].iter().take_while(|(other, _)| *other == window)
            {
                let file = &self.files[*number];
                assert!(may(file), "{ip} reads bytes of {}, which is for others", file.name);
            }
        }
        let keep = self.files.iter().map(|file| file.name.len()).max().unwrap_or(0).max(WIDTH);
        all.drain(..all.len().saturating_sub(keep - 1));
        self.tails.insert(end, all);
    }

    /// A real host has sent these bytes: records of TLS, or a plain refusal.
    pub fn was_written(&mut self, end: End, mut bytes: &[u8]) {
        let records = self.records.entry(end).or_default();
        if !records.plain.is_empty()
            || (records.header.is_empty() && records.left == 0 && bytes[0] == b'{')
        {
            records.plain.extend_from_slice(bytes);
            let count = records.plain.len().min(PLAIN_REFUSAL.len());
            let is_refusal = end.1 == 1 && records.plain[..count] == PLAIN_REFUSAL[..count];
            let text = String::from_utf8_lossy(&records.plain);
            return assert!(is_refusal, "a host of a closed world speaks plain text: {text}");
        }
        while !bytes.is_empty() {
            if records.left == 0 {
                records.header.push(bytes[0]);
                bytes = &bytes[1..];
                assert!(RECORD_TYPES.contains(&records.header[0]), "no record of TLS");
                if let [_, major, _, high, low] = records.header[..] {
                    assert_eq!(major, 3, "no record of TLS");
                    records.left = usize::from(u16::from_be_bytes([high, low]));
                    records.header.clear();
                }
                continue;
            }
            let count = records.left.min(bytes.len());
            records.left -= count;
            bytes = &bytes[count..];
        }
    }
}
