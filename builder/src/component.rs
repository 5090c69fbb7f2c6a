//! A component: one third-party program that a node runs, `recipes/components/NAME.toml`.
//!
//! It says where the bytes come from and what they become; which version, and with which checksum,
//! stands in a line.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::base::name::{Arch, ComponentName, PackageName};
use crate::base::{Result, Url};
use crate::text::Text;
use crate::tree::TreePath;

/// One third-party program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Component {
    /// Its name, which is the file's.
    pub name: ComponentName,
    /// What it is for, in one line.
    pub about: String,
    /// Its licence, as an SPDX expression.
    pub licence: String,
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
    Apt {
        /// Its name there.
        package: PackageName,
    },
    /// A file that upstream publishes.
    Url {
        /// Where it is.
        address: Address,
        /// How its files are got out of it.
        archive: Archive,
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
    /// What the operator hands over with `cargo xtask input add`.
    Provided {
        /// How a person comes by it.
        how: String,
    },
}

/// What a component becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Product {
    /// It is used as it is: a package of Debian's, or an image by its digest.
    AsIs,
    /// A `.deb` of ours.
    Deb(Package),
    /// An image of ours, made of a Debian package and what it depends on.
    Image(BuiltImage),
}

/// An image that we make, because nobody publishes that version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuiltImage {
    /// Its name below the line's image repository: `etcd`.
    pub name: ComponentName,
    /// The programs it is for; what they need besides comes along.
    pub programs: BTreeSet<TreePath>,
}

/// How files are got out of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Archive {
    /// The download is the one file.
    None,
    /// A gzipped tar archive.
    TarGz,
    /// A `.deb`, in which every file stands at its path on the node.
    Deb,
}

impl Archive {
    /// What a file's name says that it is, when it was handed over.
    pub fn of_file(name: &str) -> Self {
        match name {
            name if name.ends_with(".tar.gz") || name.ends_with(".tgz") => Self::TarGz,
            name if name.ends_with(".deb") => Self::Deb,
            _ => Self::None,
        }
    }
}

/// A `.deb` of ours, around somebody else's program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Package {
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
pub struct Release {
    /// What people call it: `kubelet 1.17.17`.
    pub name: String,
    /// How its files are got out of it.
    pub archive: Archive,
    /// The machine that its programs are for.
    pub arch: Arch,
    /// What is wanted, by path on the node.
    pub files: BTreeMap<TreePath, Wanted>,
}

/// One file that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawComponent {
    about: Spanned<String>,
    licence: String,
    from: Spanned<RawOrigin>,
    package: Option<Spanned<RawPackage>>,
    image: Option<Spanned<BuiltImage>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum RawOrigin {
    Apt { package: PackageName },
    Url { address: Spanned<String>, archive: Archive },
    Image { registry: Spanned<String>, repository: Spanned<String>, tag: Option<String> },
    Provided { how: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPackage {
    name: PackageName,
    #[serde(default)]
    depends: Vec<String>,
    files: BTreeMap<TreePath, Spanned<Payload>>,
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

impl Component {
    /// Reads `recipes/components/NAME.toml`.
    pub fn parse(name: ComponentName, text: Text<'_>) -> Result<Self> {
        let raw: RawComponent = text.toml()?;
        if raw.about.get_ref().is_empty() || raw.about.get_ref().contains('\n') {
            return Err(text
                .fault(raw.about.span(), "not one line")
                .versus("one line of text", "none or many"));
        }
        let from_span = raw.from.span();
        let from = origin(text, raw.from.into_inner())?;
        let becomes = match (raw.package, raw.image) {
            (None, None) => Product::AsIs,
            (Some(raw), None) => Product::Deb(package(text, &from, raw)?),
            (None, Some(image)) => Product::Image(image.into_inner()),
            (Some(_), Some(image)) => {
                return Err(text.fault(image.span(), "both a package and an image").mend("take one out"));
            }
        };
        let fits = match (&from, &becomes) {
            (Origin::Apt { .. }, Product::AsIs | Product::Image(_)) => Ok(()),
            (Origin::Image { .. }, Product::AsIs) => Ok(()),
            (Origin::Url { .. } | Origin::Provided { .. }, Product::Deb(_)) => Ok(()),
            (Origin::Url { .. } | Origin::Provided { .. }, _) => Err("`[package]`: the files it installs"),
            (Origin::Apt { .. }, Product::Deb(_)) => Err("no `[package]`: Debian's is used as it is"),
            (Origin::Image { .. }, _) => Err("neither `[package]` nor `[image]`: an image is used as it is"),
        };
        fits.map_err(|expected| {
            text.fault(from_span, "what comes from here cannot become that").versus(expected, "otherwise")
        })?;
        Ok(Self { name, about: raw.about.into_inner(), licence: raw.licence, from, becomes })
    }

    /// The `.deb` of ours that it becomes, if it does.
    pub fn package(&self) -> Option<&Package> {
        match &self.becomes {
            Product::Deb(package) => Some(package),
            Product::AsIs | Product::Image(_) => None,
        }
    }
}

fn origin(text: Text<'_>, raw: RawOrigin) -> Result<Origin> {
    Ok(match raw {
        RawOrigin::Apt { package } => Origin::Apt { package },
        RawOrigin::Image { registry, repository, tag } => image(text, registry, repository, tag)?,
        RawOrigin::Url { address, archive } => {
            Origin::Url { address: self::address(text, address)?, archive }
        }
        RawOrigin::Provided { how } => Origin::Provided { how },
    })
}

fn package(text: Text<'_>, from: &Origin, raw: Spanned<RawPackage>) -> Result<Package> {
    let span = raw.span();
    let raw = raw.into_inner();
    if matches!(from, Origin::Url { archive: Archive::None, .. }) && raw.files.len() != 1 {
        let fault = text.fault(span, "a bare download becomes exactly one file");
        return Err(fault.versus("one file", raw.files.len()));
    }
    if raw.files.is_empty() {
        return Err(text.fault(span, "a package without files"));
    }
    let mut files = BTreeMap::new();
    for (path, payload) in raw.files {
        let mode = payload.get_ref().mode;
        if mode & !0o755 != 0 || mode & 0o400 == 0 {
            let fault = text.fault(payload.span(), "a mode that no program of ours has");
            return Err(fault.versus("0755 or fewer bits, readable by its owner", format!("{mode:04o}")));
        }
        files.insert(path, payload.into_inner());
    }
    Ok(Package { name: raw.name, depends: raw.depends, files })
}

fn address(text: Text<'_>, raw: Spanned<String>) -> Result<Address> {
    let address = raw.get_ref();
    let placeholders: Vec<&str> =
        address.split('{').skip(1).map(|rest| rest.split('}').next().unwrap_or("")).collect();
    if let Some(unknown) = placeholders.iter().find(|name| !["version", "arch"].contains(*name)) {
        let fault = text.fault(raw.span(), format!("unknown placeholder `{{{unknown}}}`"));
        return Err(fault.versus("`{version}` or `{arch}`", format!("`{{{unknown}}}`")));
    }
    let filled = address.replace("{version}", "1").replace("{arch}", "amd64");
    if let Err(fault) = filled.parse::<Url>() {
        return Err(text.blame(raw.span(), fault));
    }
    Ok(Address(raw.into_inner()))
}

fn image(
    text: Text<'_>,
    registry: Spanned<String>,
    repository: Spanned<String>,
    tag: Option<String>,
) -> Result<Origin> {
    let fits = |text: &str, also: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || also.contains(c))
    };
    if !fits(registry.get_ref(), ".-:") {
        return Err(text
            .fault(registry.span(), "not a registry's host")
            .versus("host or host:port", registry.get_ref()));
    }
    if !fits(repository.get_ref(), "._-/") || repository.get_ref().split('/').any(str::is_empty) {
        let fault = text.fault(repository.span(), "not a repository");
        return Err(fault.versus("parts of a-z 0-9 . _ - joined by `/`", repository.get_ref()));
    }
    let tag = tag.unwrap_or_else(|| "{version}".to_owned());
    Ok(Origin::Image { registry: registry.into_inner(), repository: repository.into_inner(), tag })
}

#[cfg(test)]
mod tests;
