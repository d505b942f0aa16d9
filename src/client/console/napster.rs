//! The console of the Napster exercise: its lines are parsed by [`command`](crate::client::command), its words stand in [`text`](crate::ui::text), which all
//! other families fall back to.

/// What Tab completes.
pub const COMMANDS: [&str; 22] = [
    "JOIN",
    "SEARCH",
    "DOWNLOAD",
    "GET",
    "PLAY",
    "PEERS",
    "LS",
    "LEAVE",
    "QUIT",
    "HELP",
    "SIM",
    "NODES",
    "FIND",
    "REGISTER",
    "UNREGISTER",
    "CONNECT",
    "DISCONNECT",
    "PUBLISH",
    "DELETE",
    "USERS",
    "CONTENT",
    "GETFILE",
];
