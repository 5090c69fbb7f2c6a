//! Intermediates: what a step makes on its way, and keeps for other steps that need the same.
//!
//! A step is known by the ids of its inputs, before any of them is made. An intermediate is known by the bytes that
//! go into it, once they are there: a package is unpacked once, whichever step brings it, and two roots with the same
//! drivers share an initramfs. The store records it beside the steps, under an id of its own. No step's id depends on
//! one: when the form of an intermediate changes, its number rises here, and so does that of every step whose output
//! it changes.

use std::fmt;

use super::id::StepId;
use crate::base::tree::Tree;
use crate::base::{Digest, Epoch, Result, json};

/// One intermediate: everything that decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intermediate {
    /// A `.deb` as a tree of its control files and its data.
    UnpackedPackage {
        /// The digest of the `.deb`.
        deb: Digest,
    },
    /// A root laid out as files, with what a sandbox needs besides. A folder of the store's, not an output.
    FurnishedRoot {
        /// The digest of the root's tree.
        root: Digest,
        /// Every file's time.
        epoch: Epoch,
    },
    /// The initramfs of a disk.
    Initramfs {
        /// Its files.
        files: Tree,
        /// Every file's time.
        epoch: Epoch,
    },
}

/// A kind of intermediate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntermediateKind {
    /// See [`Intermediate::UnpackedPackage`].
    UnpackedPackage,
    /// See [`Intermediate::FurnishedRoot`].
    FurnishedRoot,
    /// See [`Intermediate::Initramfs`].
    Initramfs,
}

impl IntermediateKind {
    /// Returns the name, as it stands in texts and as people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnpackedPackage => "unpacked package",
            Self::FurnishedRoot => "furnished root",
            Self::Initramfs => "initramfs",
        }
    }

    /// Returns the number of its form. It rises when the same text gives other bytes than before.
    fn format(self) -> u32 {
        match self {
            Self::UnpackedPackage | Self::FurnishedRoot => 1,
            Self::Initramfs => 3,
        }
    }
}

impl fmt::Display for IntermediateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Intermediate {
    /// Returns what kind it is.
    pub fn kind(&self) -> IntermediateKind {
        match self {
            Self::UnpackedPackage { .. } => IntermediateKind::UnpackedPackage,
            Self::FurnishedRoot { .. } => IntermediateKind::FurnishedRoot,
            Self::Initramfs { .. } => IntermediateKind::Initramfs,
        }
    }

    /// Returns the canonical text: the kind, its format number and what decides the bytes, as JSON.
    pub fn text(&self) -> Result<Vec<u8>> {
        let (name, format) = (self.kind().name(), self.kind().format());
        match self {
            Self::UnpackedPackage { deb } => json::canonical(&(name, format, deb)),
            Self::FurnishedRoot { root, epoch } => json::canonical(&(name, format, root, epoch)),
            Self::Initramfs { files, epoch } => json::canonical(&(name, format, files, epoch)),
        }
    }

    /// Returns the digest of the canonical text, by which the store records it.
    pub fn id(&self) -> Result<StepId> {
        Ok(StepId(Digest::of(self.text()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::{Node, TreePath};

    /// As they stand in people's stores: another text makes all of them anew.
    #[test]
    fn the_text_of_every_intermediate_stays() {
        let (digest, epoch) = (Digest::of(""), Epoch::new(1_700_000_000).unwrap());
        let mut files = Tree::new();
        files.insert(TreePath::new("init").unwrap(), Node::file(digest, 0, 0o755)).unwrap();
        let (hex, node) = (digest.to_string(), serde_json::to_string(files.get("init").unwrap()).unwrap());
        let node: serde_json::Value = serde_json::from_str(&node).unwrap();
        let expected = [
            (Intermediate::UnpackedPackage { deb: digest }, format!(r#"["unpacked package",1,"{hex}"]"#)),
            (
                Intermediate::FurnishedRoot { root: digest, epoch },
                format!(r#"["furnished root",1,"{hex}",1700000000]"#),
            ),
            (
                Intermediate::Initramfs { files, epoch },
                format!(r#"["initramfs",3,{{"init":{node}}},1700000000]"#),
            ),
        ];
        for (intermediate, text) in expected {
            assert_eq!(String::from_utf8(intermediate.text().unwrap()).unwrap(), text);
            assert_eq!(intermediate.id().unwrap(), StepId(Digest::of(text)));
        }
    }
}
