//! The terminal: keys, line editing, progress bars.

pub mod console;
pub mod keys;
pub mod line_editor;
pub mod progress;
