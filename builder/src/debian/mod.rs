//! Debian's formats as data: versions, control files, relations, indices, packages, and the solver over
//! them. No I/O: bytes and text come in, values go out.

pub mod control;
pub mod deb;
pub mod packages;
pub mod relation;
pub mod release;
pub mod script;
pub mod solve;
pub mod source;
pub mod sources;
pub mod version;
