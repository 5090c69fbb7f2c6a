//! Packers: trees in, bytes out. Pure: no disk, clock, network or environment.
//!
//! What a packer makes depends on its arguments alone. The compressors are pinned by golden digests,
//! because a new version of one changes every output.

pub mod disk;
pub mod document;
pub mod image;
pub mod package;
pub mod stream;

use std::io;

use crate::base::{Fault, Result};

/// Turns an error of the writer that a packer was given into a fault of this machine.
fn written<T>(what: &str, result: io::Result<T>) -> Result<T> {
    result.map_err(|error| Fault::machine(format!("cannot write {what}")).cause_io(&error))
}
