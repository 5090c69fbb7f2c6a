//! A component: one third-party program that a node runs, `recipes/components/NAME.toml`.
//!
//! It says where the bytes may come from and what they become; which of these, which version, and with which
//! checksum, stands in a line.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::Result;
use crate::base::name::{Arch, ComponentName, PackageName};
use crate::base::tree::TreePath;
use crate::formats::debian::version::Version;

/// One third-party program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Component {
    /// Its name, which is the file's.
    pub name: ComponentName,
    /// What it is for, in one line.
    pub about: String,
    /// Its licence, as an SPDX expression.
    #[serde(rename = "licence")]
    pub license: String,
    /// Where its bytes come from.
    pub from: Origin,
    /// What it becomes.
    pub becomes: Product,
}

/// Where a component's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A package of Debian's.
    #[serde(rename = "apt")]
    Debian {
        /// Its name there.
        package: PackageName,
    },
    /// A file that upstream publishes.
    #[serde(rename = "url")]
    Download {
        /// Where it is.
        address: Address,
        /// How its files are got out of it.
        archive: ArchiveKind,
    },
    /// A container image.
    Image {
        /// The registry's host.
        registry: String,
        /// The repository's path there.
        repository: String,
        /// The tag that Kubernetes calls it by, in which `{version}` is the pin's.
        tag: String,
    },
    /// Compiled from a source package of Debian's, as `recipes/sources` says.
    #[serde(rename = "source")]
    SourcePackage {
        /// Its name there.
        package: PackageName,
    },
    /// What the operator hands over with `cargo xtask input add`.
    Provided {
        /// How a person comes by it.
        how: String,
    },
}

/// The kinds of [`Origin`]: a component may have one of each, and the shape of a line's pin says which counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OriginKind {
    /// [`Origin::Debian`].
    Debian,
    /// [`Origin::Download`].
    Download,
    /// [`Origin::Image`].
    Image,
    /// [`Origin::SourcePackage`].
    SourcePackage,
    /// [`Origin::Provided`].
    Provided,
}

impl OriginKind {
    /// The pin that chooses it.
    pub fn pin(self) -> &'static str {
        match self {
            Self::Debian => "`at-least`",
            Self::Download => "`version` and `checksum`",
            Self::Image => "`version` and `digest`",
            Self::SourcePackage => "`version` and `source-at-least`",
            Self::Provided => "`version` alone",
        }
    }
}

/// What a component becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Product {
    /// It is used as it is: a package of Debian's, or an image by its digest.
    AsIs,
    /// A `.deb` of ours.
    Deb(ComponentPackage),
    /// An image of ours, made of programs and the libraries that they need.
    Image(BuiltImage),
}

/// An image that we make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuiltImage {
    /// Its name below the line's image repository: `etcd`.
    pub name: ComponentName,
    /// The tag that Kubernetes calls it by, in which `{version}` is the version without Debian's marks.
    #[serde(default = "plain_tag")]
    pub tag: String,
    /// The programs it is for; what they need besides comes along.
    pub programs: BTreeSet<TreePath>,
    /// What it runs where a pod names no command; without it, its one program.
    #[serde(default)]
    pub entrypoint: Vec<String>,
}

fn plain_tag() -> String {
    "{version}".to_owned()
}

/// A component as its file has it, before a line has chosen where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentRecipe {
    name: ComponentName,
    about: String,
    license: String,
    from: BTreeMap<OriginKind, Origin>,
    package: Option<ComponentPackage>,
    image: Option<BuiltImage>,
}

/// How files are got out of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveKind {
    /// The download is the one file.
    None,
    /// A gzipped tar archive.
    TarGz,
    /// A `.deb`, in which every file stands at its path on the node.
    Deb,
}

impl ArchiveKind {
    /// What a file's name says that it is, when it was handed over.
    pub fn of_file(name: &str) -> Self {
        match name {
            name if name.ends_with(".tar.gz") || name.ends_with(".tgz") => Self::TarGz,
            name if name.ends_with(".deb") => Self::Deb,
            _ => Self::None,
        }
    }
}

/// A `.deb` of ours, around a third-party program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComponentPackage {
    /// Its name.
    pub name: PackageName,
    /// Debian packages it needs to run, as relations (Debian Policy 7.1).
    pub depends: Vec<String>,
    /// What it installs, by path on the node.
    pub files: BTreeMap<TreePath, Payload>,
}

/// One file that a package installs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// Where it stands in a tar archive, one path for each layout that upstream has had; `{version}` is
    /// the pin's. The first that is there is taken. None: at the top, by the name that it has on the node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<TreePath>,
    /// Permission bits.
    pub mode: u16,
}

/// A release, and what is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamRelease {
    /// What people call it: `kubelet 1.17.17`.
    pub name: String,
    /// How its files are got out of it.
    pub archive: ArchiveKind,
    /// The machine that its programs are for.
    pub arch: Arch,
    /// What is wanted, by path on the node.
    pub files: BTreeMap<TreePath, WantedFile>,
}

/// One file that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedFile {
    /// Where it may stand in a tar archive; the first that is there is taken.
    pub places: Vec<TreePath>,
    /// Permission bits on the node.
    pub mode: u16,
}

/// An address with `{version}` and `{arch}` in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Address(String);

impl Address {
    /// The address of one version for one architecture.
    pub fn fill(&self, version: &str, arch: Arch) -> String {
        self.0.replace("{version}", version).replace("{arch}", arch.as_str())
    }
}

impl Payload {
    /// Where it may stand in a tar archive of `version`, the likeliest first; `installed` is its path on
    /// the node.
    pub fn places(&self, installed: &TreePath, version: &str) -> Result<Vec<TreePath>> {
        if self.from.is_empty() {
            return Ok(vec![TreePath::new(installed.file_name())?]);
        }
        self.from.iter().map(|path| TreePath::new(path.as_str().replace("{version}", version))).collect()
    }
}

impl ComponentRecipe {
    /// The component as it is when it comes from there; nothing when it cannot.
    pub fn choose(&self, kind: OriginKind) -> Option<Component> {
        let from = self.from.get(&kind)?.clone();
        let becomes = match (kind, &self.package, &self.image) {
            (OriginKind::Image, _, _) => Product::AsIs,
            (_, _, Some(image)) => Product::Image(image.clone()),
            (
                OriginKind::Download | OriginKind::SourcePackage | OriginKind::Provided,
                Some(package),
                None,
            ) => Product::Deb(package.clone()),
            _ => Product::AsIs,
        };
        let (name, about, license) = (self.name.clone(), self.about.clone(), self.license.clone());
        Some(Component { name, about, license, from, becomes })
    }

    /// The kinds of origin that it has.
    pub fn kinds(&self) -> impl Iterator<Item = OriginKind> {
        self.from.keys().copied()
    }
}

impl Component {
    /// The `.deb` of ours that it becomes, if it does.
    pub fn package(&self) -> Option<&ComponentPackage> {
        match &self.becomes {
            Product::Deb(package) => Some(package),
            Product::AsIs | Product::Image(_) => None,
        }
    }

    /// The image of ours that it becomes, if it does.
    pub fn image(&self) -> Option<&BuiltImage> {
        match &self.becomes {
            Product::Image(image) => Some(image),
            Product::AsIs | Product::Deb(_) => None,
        }
    }
}

impl BuiltImage {
    /// The tag of one version; Debian's revision and repacking marks are no part of it.
    pub fn tag(&self, version: &Version) -> String {
        let upstream = version.without_epoch();
        let end = upstream.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(upstream.len());
        self.tag.replace("{version}", &upstream[..end])
    }

    /// What it runs.
    pub fn entrypoint(&self) -> Vec<String> {
        match self.entrypoint.is_empty() {
            true => self.programs.iter().map(|program| format!("/{program}")).collect(),
            false => self.entrypoint.clone(),
        }
    }
}

mod read;
#[cfg(test)]
mod tests;
