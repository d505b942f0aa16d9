//! **cardume** (Portuguese: a school of fish): an index server that knows who has which file, and peers that hand giant files straight to each other.
//!
//! # The house
//!
//! ```text
//!         programs          main.rs + cli/
//!                                |
//!    6  os        sockets (mio), quic    folder, manifest, mapped     store    keyboard    the machine we run on
//!                                |
//!    5  host      the turn:  wait -> note -> pump -> due -> act -> reap -> accept      one loop, any network
//!                                |
//!    4  node      Server                                   Peer                        a whole process, as a value
//!                                |
//!    3  session   Answering                                Asking                      one conversation
//!                      |                    |                     |
//!    2  wire        flow             index           accounts      library
//!       dialects    inbox, outbox    who has what    who is who    what I have, what I lack
//!                      |                    |                     |
//!    1  message   Request   Reply   Refusal   FileName   ByteRange   Tag   limits      one vocabulary
//! ```
//!
//! [`message`] is what can be said; [`wire`] is how it is spelled; [`flow`] is how bytes wait; [`index`], [`accounts`] and [`library`] are what is known; [`session`] is one
//! conversation; [`node`] is a whole process that has not been plugged in; [`host`] plugs it in; [`os`] is the wall socket.
//!
//! A process may listen on several ports. Each has its [`wire::sniff::Speech`]: the usual one tells the native wire from HTTP, and from seed 001's JSON where that is
//! wanted, by the first bytes of a link; the other old wires have a port each and are told from nothing. All of them become the same [`message`]s, so that an
//! [`index`] and a [`library`] never know who speaks how. [`accounts`] decides who is who and asks a store to keep it: SQLite in [`os`] (feature `store`), or memory.
//! What is decided in one turn is made lasting by one commit at its end, and answered after it.
//!
//! A link is one TCP connection, or one stream of a QUIC connection (feature `quic`): [`host`] reaches both through [`host::net::Net::ends`], so that no session knows
//! by which way its bytes come. The same port answers browsers, players and scripts over HTTP ([`wire::http`]); who watches a file while it arrives is served by
//! [`node::peer::watching`] on a port of its own, and moves what the [`library::plan`] asks for next. [`node::swarm`] is the same loop once more, as the load.
//!
//! # The laws
//!
//! `tests/tidy.rs` reads them from the code.
//!
//! 1. `use crate::X` only where X stands lower, or in the same room. Import from the module that defines a thing.
//! 2. Each outside thing has one door, in `os`.
//! 3. Bulk bytes live in `flow` and nowhere above it. A request is handled once; its body moves without the protocol's help.
//! 4. Edges in, levels out. A link stopped by its budget stays runnable and the poll waits zero.
//! 5. The only way to a link is through `io.link(id)`, which marks it runnable: nobody can forget to arm.
//! 6. An id is freed at the end of the turn, after `Closed` was told. One `now` a turn. An event is never handled inside another.
//! 7. Everything has a limit, in [`message::limits`], with its reason beside it.
//! 8. Nothing blocks the loop. stdout and log lines go through bounded buffers. Names are resolved before the loop starts.
//! 9. Randomness, wall time and hash seeds have doors as the clock has; the order of a hash table is never observable.
//!
//! # Reading order
//!
//! [`message`], then [`wire::native`] beside PROTOCOL.md, [`flow::outbox`], [`host::turn`], and then a whole life: [`node::server`] and [`node::peer`].

pub mod message;

pub mod accounts;
pub mod flow;
pub mod index;
pub mod library;
pub mod wire;

pub mod session;

pub mod node;

pub mod host;

pub mod os;
