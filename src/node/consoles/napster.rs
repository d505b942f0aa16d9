//! The console of seed 000: its lines are read by [`desk`](crate::node::peer::desk) and its words are those of [`lines`](crate::node::lines), which all
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
