//! The side that asks a server: the command parser, the connection to the server, one-shot queries and the consoles.

pub mod command;
pub mod console;
pub mod paging;
pub mod server_connection;
pub mod status;
pub mod subscribe;
