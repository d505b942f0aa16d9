//! How bytes wait and move. All bulk bytes live here and nowhere above: a link's [`outbox`] holds what goes out, memory and slices of files in
//! order; its [`inbox`] holds a head to be read, or hands a body on to its sink; [`pump`] moves both; [`pace`] says how fast,
//! [`budget`] how much one address and all together may use.

pub mod budget;
pub mod ends;
pub mod inbox;
pub mod outbox;
pub mod pace;
pub mod pump;
