//! The reports of a process to the user: events as data, and their words in three languages.

pub mod event;
pub mod lang;
pub mod qr;
pub mod text;
