//! Real processes on real sockets and disks: the program as people, scripts and strangers meet it.
//!
//! Each test starts its own server and peers on ports that the system chooses, in folders of its own, and waits for events, never for time.
//! `harness` starts and stops processes, `native` is a client written from PROTOCOL.md alone, `giver` a peer, `web` speaks HTTP byte by byte.

mod giver;
mod harness;
mod native;
mod web;

mod accounts;
mod consent;
mod console;
mod crash;
mod data_place;
mod disk;
mod doors;
mod exits;
mod families;
mod found_away;
mod hash;
mod hostile;
mod http;
mod index_budget;
mod interfaces;
mod ipv6;
mod liars;
mod limits;
mod live;
mod lost_output;
mod main_job;
mod manifest;
mod missing;
mod names;
mod nodes;
mod old_ends;
mod old_sources;
mod old_wires;
mod output;
mod page;
mod partial;
mod plain_words;
mod play;
mod questions;
#[cfg(feature = "quic")]
mod quic;
mod resume;
mod scripts;
mod search;
mod shared_folder;
mod silence;
mod stamps;
mod states;
mod status;
mod subfolders;
mod surroundings;
mod swarm;
mod swarm_load;
mod tampered;
mod terminal;
mod trust;
mod users;
mod verify;
mod watching;
