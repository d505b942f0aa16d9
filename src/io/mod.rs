//! Buffers of one connection. Bulk bytes stay here: [`send_queue`] holds what goes out, memory and file slices in order; [`recv_buffer`] holds a header that is
//! not parsed yet, or passes a body on to its sink; [`transfer`] moves bytes between both and a stream; [`token_bucket`] limits the rate.

pub mod budget;
pub mod recv_buffer;
pub mod send_queue;
pub mod token_bucket;
pub mod traits;
pub mod transfer;
