//! Formats of other people as data: bytes and text in, values out. No I/O.

pub mod archive;
pub mod debian;
pub mod openpgp;
