//! What a process tells its user: events as data, and their words in three languages.

pub mod account_errors;
pub mod causes;
pub mod event;
pub mod help;
pub mod skipped;
pub mod text;
pub mod transport_notes;
