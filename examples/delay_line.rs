//! A long link between two networks: packets from one TUN device leave on the other after a delay,
//! in both directions.
//!
//! Standard input and output are the two devices, opened non-blocking by the caller. The only
//! argument is the one-way delay in milliseconds. Each direction holds at most [`HELD`] bytes and
//! drops further packets, as a router does. Ends when a device closes. `scripts/bench/far.py`
//! creates the networks.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Bytes held in one direction; further packets are dropped.
const HELD: usize = 32 << 20;
/// Packets moved before the other direction is served.
const BATCH: usize = 256;
/// The longest packet.
const PACKET: usize = 65_536;

struct Way<'a> {
    from: BorrowedFd<'a>,
    to: BorrowedFd<'a>,
    under_way: VecDeque<(Instant, Vec<u8>)>,
    held: usize,
    /// Buffers of sent packets for reuse.
    spare: Vec<Vec<u8>>,
}

impl<'a> Way<'a> {
    fn new(from: BorrowedFd<'a>, to: BorrowedFd<'a>) -> Way<'a> {
        Way { from, to, under_way: VecDeque::new(), held: 0, spare: Vec::new() }
    }

    /// Reads received packets.
    fn take(&mut self, room: &mut [u8], delay: Duration) -> io::Result<()> {
        for _ in 0..BATCH {
            match rustix::io::read(self.from, &mut *room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) if self.held + length > HELD => {}
                Ok(length) => {
                    let mut packet = self.spare.pop().unwrap_or_default();
                    packet.clear();
                    packet.extend_from_slice(&room[..length]);
                    self.held += length;
                    self.under_way.push_back((Instant::now() + delay, packet));
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sends packets whose delay has passed.
    fn send(&mut self) -> io::Result<()> {
        let now = Instant::now();
        for _ in 0..BATCH {
            let Some((due, packet)) = self.under_way.front() else { return Ok(()) };
            if *due > now {
                return Ok(());
            }
            match rustix::io::write(self.to, packet) {
                // A device with a full queue drops packets, as a router does.
                Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS | Errno::INVAL) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if let Some((_, packet)) = self.under_way.pop_front() {
                self.held -= packet.len();
                self.spare.push(packet);
            }
        }
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        self.under_way.front().map(|(due, _)| *due)
    }
}

fn main() -> io::Result<()> {
    let delay =
        std::env::args().nth(1).and_then(|text| text.parse().ok()).map(Duration::from_millis);
    let Some(delay) = delay else {
        return Err(io::Error::other(
            "usage: delay_line MILLISECONDS, between the devices that are its input and its output",
        ));
    };
    let (one, two) = (io::stdin(), io::stdout());
    let (one, two) = (one.as_fd(), two.as_fd());
    let (mut there, mut back) = (Way::new(one, two), Way::new(two, one));
    let mut room = vec![0; PACKET];
    loop {
        let rest = [there.due(), back.due()]
            .into_iter()
            .flatten()
            .min()
            .map(|due| due.saturating_duration_since(Instant::now()));
        let rest = rest.map(|rest| Timespec {
            tv_sec: rest.as_secs().cast_signed(),
            tv_nsec: rest.subsec_nanos().into(),
        });
        let mut ready = [PollFd::new(&one, PollFlags::IN), PollFd::new(&two, PollFlags::IN)];
        match poll(&mut ready, rest.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        there.take(&mut room, delay)?;
        back.take(&mut room, delay)?;
        there.send()?;
        back.send()?;
    }
}
