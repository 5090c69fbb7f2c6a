//! Debian's formats as data: versions, control files, relations, indices, packages, and the solver over
//! them. No I/O: bytes and text come in, values go out.

pub mod apt_sources;
pub mod control;
pub mod deb;
pub mod index;
pub mod relation;
pub mod script;
pub mod solver;
pub mod version;
