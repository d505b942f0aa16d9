//! One conversation: [`answering`] for the side that was connected to, [`asking`] for the side that connected, [`foreign`] where that one speaks an
//! old wire.
//!
//! A session turns bytes of a link's boxes into requests and answers and back. It knows deadlines and turns of speech; who may have what is
//! decided above.

pub mod answering;
pub mod asking;
pub mod foreign;
pub mod playing;
pub mod sending;
