//! `converted`: a disk in another form.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::kind::StepKind;
use crate::base::{Fault, Result};
use crate::plan::id::StepId;

/// A disk in another form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvertedStep {
    /// The raw disk.
    pub disk: StepId,
    /// The form.
    pub format: DiskFormat,
}

/// The form in which a disk is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFormat {
    /// As on the disk, sparse.
    Raw,
    /// QEMU's, without the holes.
    Qcow2,
    /// Raw, compressed with zstd.
    RawZst,
}

impl DiskFormat {
    /// All of them.
    const ALL: [Self; 3] = [Self::Raw, Self::Qcow2, Self::RawZst];

    /// Returns the end of the file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::RawZst => "raw.zst",
        }
    }
}

impl FromStr for DiskFormat {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        // What people call it before the file's whole name.
        let name = if text == "zstd" { "raw.zst" } else { text };
        Self::ALL.into_iter().find(|format| format.extension() == name).ok_or_else(|| {
            Fault::user("not a format for a disk").expected_found("raw, qcow2 or zstd", format!("{text:?}"))
        })
    }
}

impl StepKind for ConvertedStep {
    /// Compressed by libzstd since 2.
    fn format(&self) -> u32 {
        match self.format {
            DiskFormat::RawZst => 2,
            DiskFormat::Raw | DiskFormat::Qcow2 => 1,
        }
    }

    fn inputs(&self) -> BTreeSet<StepId> {
        [self.disk].into()
    }
}
