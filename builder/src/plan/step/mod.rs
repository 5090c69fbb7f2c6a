//! The kinds of step. Each has a format number; an algorithm that changes its bytes raises it.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::bill::BillOfMaterials;
use super::id::StepId;
use crate::base::digest::Checksum;
use crate::base::name::{Arch, PackageName};
use crate::base::tree::TreePath;
use crate::base::{Digest, Epoch, Fault, Result, json};
use crate::formats::debian::script::Script;
use crate::formats::debian::version::Version;
use crate::recipe::component::UpstreamRelease;
use crate::recipe::source_build::Compilation;

/// One derivation: everything that decides its output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// Bytes that the lock pins. Its identity is what they are, so a change of mirror rebuilds nothing.
    Input {
        /// What the bytes must hash to.
        checksum: Checksum,
    },
    /// A tree that is read already: a rendered overlay.
    Files {
        /// The digest of the tree's JSON.
        tree: Digest,
    },
    /// `hale`, compiled from the checkout and packed by cargo-deb.
    Program {
        /// The digest of everything that decides its bytes: sources, lock, toolchain.
        sources: Digest,
        /// Every file's time.
        epoch: Epoch,
    },
    /// A `.deb`'s tree.
    Unpack {
        /// The package.
        deb: StepId,
    },
    /// Programs out of an upstream release, as the tree of a package.
    Payload {
        /// The release's bytes.
        input: StepId,
        /// What is wanted of them.
        release: UpstreamRelease,
        /// Texts of ours beside them, by path: the package's copyright file.
        texts: BTreeMap<TreePath, String>,
    },
    /// A tree as a `.deb`.
    Deb {
        /// What the package says of itself.
        package: DebMetadata,
        /// What it installs.
        tree: StepId,
        /// Every file's time.
        epoch: Epoch,
    },
    /// Trees as an OCI image layout, one layer each.
    Image {
        /// Its title.
        title: String,
        /// Its version.
        version: Version,
        /// One sentence for people.
        about: String,
        /// Licences as an SPDX expression.
        #[serde(rename = "licences")]
        licenses: String,
        /// True things about the image, beside OCI's own.
        annotations: BTreeMap<String, String>,
        /// What machine it is for.
        arch: Arch,
        /// From the bottom up.
        layers: Vec<LayerSpec>,
        /// Every file's time.
        epoch: Epoch,
    },
    /// Packages installed together as one root tree: unpacked, then configured by their own scripts.
    Root {
        /// The `.deb`s by name.
        packages: BTreeMap<PackageName, StepId>,
        /// Every file's time.
        epoch: Epoch,
    },
    /// A root tree with more packages, installed by its own dpkg.
    Install {
        /// The root.
        root: StepId,
        /// The `.deb`s by name.
        packages: BTreeMap<PackageName, StepId>,
        /// Packages that are on hold afterwards.
        held: BTreeSet<PackageName>,
        /// The user and group beyond Debian's own ids that may own what the packages make.
        owner: u32,
        /// Every file's time.
        epoch: Epoch,
    },
    /// Programs compiled from a source package of Debian's, as a tree with nothing else in it.
    Compile {
        /// The source package's files by name.
        source: BTreeMap<String, StepId>,
        /// A root tree with what the build needs.
        root: StepId,
        /// What is done.
        compilation: Compilation,
        /// Every file's time.
        epoch: Epoch,
    },
    /// Packages merged in one tree and never installed: programs that are run from the store.
    Tools {
        /// The `.deb`s by name.
        packages: BTreeMap<PackageName, StepId>,
    },
    /// Programs of a tree, and the libraries that they need.
    Closure {
        /// Where they are.
        tree: StepId,
        /// The programs.
        programs: BTreeSet<TreePath>,
    },
    /// Images as a store that is only read: one file system in a file, among the other files of the package that
    /// carries them.
    Preload {
        /// The other files.
        files: StepId,
        /// The file.
        at: TreePath,
        /// The images by the name that they are asked for by.
        images: BTreeMap<String, Preloaded>,
        /// The ids that containers run with.
        mapping: Mapping,
        /// What machine they are for.
        arch: Arch,
        /// Every file's time.
        epoch: Epoch,
    },
    /// A root tree as a disk that boots, raw. Its identities come from the step's own id.
    Disk {
        /// The root.
        root: StepId,
        /// The tools that make it boot.
        tools: StepId,
        /// The kernel's arguments besides `root=`, in order.
        arguments: Vec<String>,
        /// Every file's time.
        epoch: Epoch,
    },
    /// A disk in another form.
    Converted {
        /// The raw disk.
        disk: StepId,
        /// The form.
        format: DiskFormat,
    },
    /// What a role becomes: other steps' outputs by their place in `dist/<role>/`, and the documents
    /// that say what they are.
    Bundle {
        /// Files and folders.
        parts: BTreeMap<TreePath, StepId>,
        /// What they are made of; a bundle without one gets checksums only.
        bill: Option<BillOfMaterials>,
    },
}

/// An image that is there from the start: one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preloaded {
    /// What it is of: `etcd`.
    pub component: PackageName,
    /// The component's version.
    pub version: Version,
    /// Its licence, as an SPDX expression.
    #[serde(rename = "licence")]
    pub license: String,
    /// What it runs where a pod names no command.
    pub entrypoint: Vec<String>,
    /// What it holds.
    pub tree: StepId,
}

/// Container ids from 0 up stand for the machine's ids from `first` up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The machine's id of the container's root.
    pub first: u32,
    /// How many ids.
    pub count: u32,
}

/// How a disk is stored.
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

    /// The end of the file's name.
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

/// What a package says of itself (deb-control(5)); the writer adds its size and orders the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebMetadata {
    /// Control fields.
    pub control: BTreeMap<String, String>,
    /// Files that belong to the administrator once installed.
    pub conffiles: BTreeSet<TreePath>,
    /// Maintainer scripts.
    pub scripts: BTreeMap<Script, String>,
    /// Lines of the triggers file.
    pub triggers: Vec<String>,
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerSpec {
    /// The package that it is.
    pub package: PackageName,
    /// The package's version.
    pub version: Version,
    /// What it holds.
    pub tree: StepId,
}

impl Step {
    /// Raised when the same text gives other bytes than before.
    fn format(&self) -> u32 {
        match self {
            // Compressed by libzstd since 2; its command line leaves the root's state to the initramfs since 3,
            // which has drivers that are compressed one by one since 4.
            Self::Disk { .. } => 4,
            // One file system since.
            Self::Preload { .. } => 2,
            // Compressed by libzstd since.
            Self::Converted { format: DiskFormat::RawZst, .. } => 2,
            _ => 1,
        }
    }

    /// The canonical text: sorted JSON with the format number.
    pub fn text(&self) -> Result<Vec<u8>> {
        json::canonical(&(self.format(), self))
    }

    /// The digest of the canonical text.
    pub fn id(&self) -> Result<StepId> {
        Ok(StepId(Digest::of(self.text()?)))
    }

    /// What it needs, by the part it plays.
    pub fn inputs(&self) -> BTreeMap<String, StepId> {
        match self {
            Self::Input { .. } | Self::Files { .. } | Self::Program { .. } => BTreeMap::new(),
            Self::Unpack { deb } => BTreeMap::from([("deb".to_owned(), *deb)]),
            Self::Payload { input, .. } => BTreeMap::from([("input".to_owned(), *input)]),
            Self::Deb { tree, .. } => BTreeMap::from([("tree".to_owned(), *tree)]),
            Self::Image { layers, .. } => {
                layers.iter().map(|layer| (layer.package.to_string(), layer.tree)).collect()
            }
            Self::Root { packages, .. } | Self::Tools { packages } => by_name(packages),
            Self::Install { root, packages, .. } => {
                let mut inputs = by_name(packages);
                inputs.insert("the root".to_owned(), *root);
                inputs
            }
            Self::Compile { source, root, .. } => {
                let files = source.iter().map(|(name, file)| (name.clone(), *file));
                files.chain([("the root".to_owned(), *root)]).collect()
            }
            Self::Closure { tree, .. } => BTreeMap::from([("tree".to_owned(), *tree)]),
            Self::Preload { files, images, .. } => {
                let layers = images.values().map(|image| (image.component.to_string(), image.tree));
                layers.chain([("other files".to_owned(), *files)]).collect()
            }
            Self::Disk { root, tools, .. } => {
                BTreeMap::from([("the root".to_owned(), *root), ("the tools".to_owned(), *tools)])
            }
            Self::Converted { disk, .. } => BTreeMap::from([("the disk".to_owned(), *disk)]),
            Self::Bundle { parts, bill } => {
                let packages = bill.iter().flat_map(|bill| &bill.packages);
                let trees = packages.map(|package| (format!("tree of {}", package.name), package.tree));
                parts.iter().map(|(path, part)| (path.to_string(), *part)).chain(trees).collect()
            }
        }
    }
}

impl StepId {
    /// The id of the step that stands for bytes pinned by `checksum`: what they are, not where they come from.
    pub fn of_input(checksum: Checksum) -> Result<Self> {
        Step::Input { checksum }.id()
    }
}

fn by_name(packages: &BTreeMap<PackageName, StepId>) -> BTreeMap<String, StepId> {
    packages.iter().map(|(name, deb)| (name.to_string(), *deb)).collect()
}

#[cfg(test)]
mod tests;
