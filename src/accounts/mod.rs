//! Who is who, and what each has published: the operations of seed 003, decided here and kept by a [`store`].

pub mod csv;
pub mod memory;
pub mod store;
