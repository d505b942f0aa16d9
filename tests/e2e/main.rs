//! Real processes on real sockets and disks: the program as people, scripts and other programs meet
//! it.
//!
//! Each test starts its own server and peers on free ports and in temporary folders, and waits for
//! events, never for time. `harness` runs processes, `native` is a client written from PROTOCOL.md
//! alone, `provider` a peer written the same way, and `web` speaks HTTP byte by byte.

mod harness;
mod native;
mod provider;
mod web;

mod account_consoles;
mod accounts;
mod administration;
mod adversaries;
mod attacks;
mod bench;
mod consent;
mod console;
mod core_workflow;
mod crash;
mod data_folder;
mod disk;
mod drops;
mod environment;
mod exit_codes;
mod file_names;
mod file_versions;
mod folder_changes;
mod folders;
mod gateway;
mod get_list;
mod groups;
mod hash;
mod hostile_clients;
mod http;
mod http_access;
mod index_budget;
mod interfaces;
mod ipv6;
mod legacy_clients;
mod legacy_endings;
mod legacy_programs;
mod legacy_sources;
mod limits;
mod link;
mod manifest;
mod members;
mod messages;
mod missing_syscalls;
mod multi_source;
mod music;
mod napster_programs;
mod output;
mod output_errors;
mod page;
mod partial_sources;
mod play;
mod prompts;
mod protocol_states;
mod publications;
#[cfg(feature = "quic")]
mod quic;
mod rede_console;
mod resume;
mod rotation;
mod scripted_peer;
mod scripting;
mod search;
mod service;
mod sessions;
mod settings;
mod several_servers;
mod shared_folder;
mod silent_sources;
mod status;
mod subfolders;
mod subscriptions;
mod tampered_parts;
mod terminal;
mod tls;
mod transfers;
mod users;
mod verification;
mod verify_command;
