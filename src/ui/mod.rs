//! What a process reports to its user: events as data, and their words in three languages.

pub mod event;
pub mod lang;
pub mod text;
