//! Floor 3, packers: trees in, bytes out. Pure: no disk, clock, network or environment.
//!
//! What a packer makes depends on its arguments alone. The compressors are pinned by golden digests,
//! because a new version of one changes every output.

pub mod apt;
pub mod bios;
pub mod closure;
pub mod cpio;
pub mod deb;
pub mod disk;
pub mod erofs;
pub mod ext4;
pub mod fat;
pub mod gpt;
pub mod gzip;
pub mod imagestore;
pub mod initramfs;
pub mod manifest;
pub mod oci;
pub mod provenance;
pub mod qcow2;
pub mod sbom;
pub mod sink;
pub mod tar;
pub mod uki;
pub mod xz;
pub mod zstd;

use std::io;

use crate::base::{Fault, Result};

/// Turns an error of the writer that a packer was given into a fault of this machine.
fn written<T>(what: &str, result: io::Result<T>) -> Result<T> {
    result.map_err(|error| Fault::machine(format!("cannot write {what}")).because(error))
}
