//! The console of napster-ufabc. [`parser`](crate::client::parser) parses its lines, [`text`](crate::ui::text) has its
//! messages, which are the defaults of all other consoles.

/// Commands for Tab completion.
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
