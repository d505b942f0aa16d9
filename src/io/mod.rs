//! Buffers of a connection. [`send_queue`] holds bytes to send, memory and file slices in order.
//! [`recv_buffer`] holds a header until it is parsed, or passes a body to its sink. [`transfer`]
//! moves bytes between both and a stream. [`token_bucket`] limits the rate.

pub mod backoff;
pub mod budget;
pub mod deadlines;
pub mod recv_buffer;
pub mod schedule;
pub mod send_queue;
pub mod split_mix;
pub mod token_bucket;
pub mod traits;
pub mod transfer;
