//! Moves bytes between one stream and its boxes, within a budget. It knows readiness by what the stream says and decides nothing.

use std::io::{self, Read};
use std::time::Instant;

use crate::flow::ends::RawWrite;
use crate::flow::inbox::Inbox;
use crate::flow::outbox::{Outbox, Stop};

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// The stream has no more now.
    Dry,
    /// The budget is used up.
    Budget,
    /// The inbox takes no more now: its sink must catch up, or somebody must read the heads.
    Full,
    /// The other side has closed its sending half.
    End,
}

/// Where reading failed.
#[derive(Debug)]
pub enum Broken {
    /// The stream did.
    Stream(io::Error),
    /// What a body goes to did.
    Sink(io::Error),
}

/// Reads up to `budget` bytes of `from` into `inbox` by way of `scratch`; unread heads may hold up to `most`. With `short_is_dry`, a read that gave less
/// than was asked for is the last one. Returns how many bytes came and why it came to its end.
///
/// # Errors
/// When the stream or the sink of a body fails.
pub fn draw(
    from: &mut impl Read,
    inbox: &mut Inbox,
    scratch: &mut [u8],
    (budget, most): (usize, usize),
    short_is_dry: bool,
) -> Result<(usize, Drawn), Broken> {
    let mut drawn = 0;
    loop {
        if drawn >= budget {
            return Ok((drawn, Drawn::Budget));
        }
        let was_receiving = inbox.is_receiving();
        let wanted = inbox.room(most).min(scratch.len()).min(budget - drawn);
        if wanted == 0 {
            return Ok((drawn, Drawn::Full));
        }
        match from.read(&mut scratch[..wanted]) {
            Ok(0) => return Ok((drawn, Drawn::End)),
            Ok(count) => {
                drawn += count;
                inbox.take(&scratch[..count]).map_err(Broken::Sink)?;
                // A body has ended: its owner must say what comes next before more is read.
                if was_receiving && !inbox.is_receiving() {
                    return Ok((drawn, Drawn::Budget));
                }
                if short_is_dry && count < wanted {
                    return Ok((drawn, Drawn::Dry));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((drawn, Drawn::Dry)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Broken::Stream(error)),
        }
    }
}

/// Writes up to `budget` bytes of `outbox` to `to`; see [`Outbox::write_to`].
///
/// # Errors
/// When the stream or a file fails.
pub fn pour(outbox: &mut Outbox, to: &mut impl RawWrite, budget: usize, blocking: bool, now: Instant) -> io::Result<(usize, Stop)> {
    outbox.write_to(to, budget, blocking, now)
}
