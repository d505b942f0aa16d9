//! Counters and histograms that every process keeps of itself.

pub mod activity;
pub mod histogram;
pub mod process;
pub mod requests;
