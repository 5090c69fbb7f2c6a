//! Which files may be written over: those that Hale writes itself, empty ones, and what a person says.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::atomic::folder_of;
use crate::base::{Fault, Result};
use crate::pack::disk::gpt::Found;
use crate::pack::disk::writer::is_zero;
use crate::plan::DiskFormat;

/// What Hale writes where a person says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A disk of a machine.
    Disk(DiskFormat),
    /// A seed as a disk of its own.
    Seed,
    /// The page on a first boot.
    Page,
    /// What a node must be told to join.
    Join,
    /// What a person reaches a cluster of Hale's with.
    Kubeconfig,
}

/// What may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// An older file of the same form: Hale can make it again.
    Own,
    /// Whatever the file is: the person said so.
    Any,
}

/// The label of a seed: how `hale` on the node knows it.
pub const SEED_LABEL: &str = "HALE-SEED";

/// Refuses a place inside the store's folder, be it there already or not: what lies there is the store's.
pub fn check_outside(store: &Path, path: &Path) -> Result<()> {
    // What cannot be found is not there, and holds nothing.
    let (Ok(store), Ok(place)) = (store.canonicalize(), folder_of(path).canonicalize()) else {
        return Ok(());
    };
    if !place.starts_with(&store) {
        return Ok(());
    }
    Err(Fault::user(format!("{} lies in the store", path.display()))
        .expected_found(format!("a place outside of {}", store.display()), place.display())
        .help("name another file"))
}

/// Bytes from a file's start that tell its form.
const START: u64 = Found::LENGTH as u64;

impl Form {
    /// Refuses to lose what lies at `path`: anything but a regular file in any case, a link too, which would be
    /// lost itself; a regular file that is not empty and not of this form unless `overwrite` says so.
    pub fn check(self, path: &Path, overwrite: Overwrite) -> Result<()> {
        match path.symlink_metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Fault::io("look at", path, e)),
            Ok(found) if !found.is_file() => {
                Err(Fault::user(format!("{} cannot be replaced", path.display()))
                    .expected_found("a file, or nothing there", kind(&found))
                    .help("name the file itself, or another one"))
            }
            Ok(_) => {
                let file = File::open(path).map_err(|e| Fault::io("open", path, e))?;
                self.check_file(path, &file, overwrite)
            }
        }
    }

    /// Checks a regular file that is open for reading in the same way.
    pub(crate) fn check_file(self, path: &Path, file: &File, overwrite: Overwrite) -> Result<()> {
        let mut start = Vec::new();
        file.take(START).read_to_end(&mut start).map_err(|e| Fault::io("read", path, e))?;
        let found = file.metadata().map_err(|e| Fault::io("look at", path, e))?;
        // A file that was only given a length has nothing in it.
        let is_empty = found.len() == 0 || found.blocks() == 0 && is_zero(&start);
        if is_empty || overwrite == Overwrite::Any || self.is_start(&start) {
            return Ok(());
        }
        Err(Fault::user(format!("{} would be lost", path.display()))
            .expected_found(format!("{self} that Hale wrote, or nothing there"), "something else")
            .help(match self {
                Self::Disk(DiskFormat::Raw) | Self::Seed => "name another file, or add --overwrite",
                _ => "name another file, or move that one away",
            }))
    }

    /// Whether a file that begins so is one that Hale wrote.
    fn is_start(self, start: &[u8]) -> bool {
        let text = |text: &str| start.starts_with(text.as_bytes());
        match self {
            Self::Disk(DiskFormat::Raw) => Found::read(start).is_ok_and(|table| table.is_derived()),
            // Version 3, and no other file behind it: one that a person laid over an image has one.
            Self::Disk(DiskFormat::Qcow2) => start.starts_with(b"QFI\xfb\0\0\0\x03\0\0\0\0\0\0\0\0"),
            // RFC 8878, section 3.1.1.
            Self::Disk(DiskFormat::RawZst) => start.starts_with(b"\x28\xb5\x2f\xfd"),
            // The label in the boot sector of FAT16 and of FAT32.
            Self::Seed => [43, 71]
                .iter()
                .any(|at| start.get(*at..).is_some_and(|rest| rest.starts_with(SEED_LABEL.as_bytes()))),
            Self::Page => {
                text("<!DOCTYPE html><html lang=\"en\">") && holds(start, b"<title>First boot of a ")
            }
            Self::Join => text("[join]\n"),
            // As `hale kubeconfig` writes it: a person's own one names its cluster otherwise.
            Self::Kubeconfig => text("apiVersion: v1\nkind: Config\nclusters:\n- name: hale\n"),
        }
    }
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Disk(_) => "a disk image",
            Self::Seed => "a seed",
            Self::Page => "a report",
            Self::Join => "a join file",
            Self::Kubeconfig => "a kubeconfig",
        })
    }
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn kind(found: &Metadata) -> &'static str {
    let kind = found.file_type();
    match () {
        () if kind.is_symlink() => "a link",
        () if kind.is_dir() => "a folder",
        () if kind.is_block_device() => "a disk",
        () => "something else",
    }
}
