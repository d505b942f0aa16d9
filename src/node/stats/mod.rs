//! Counters and histograms that every process keeps of itself.

pub mod activity;
pub mod loop_histogram;
pub mod process;
pub mod requests;
