//! Compared with real engines.
