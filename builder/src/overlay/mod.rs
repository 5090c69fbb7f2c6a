//! An overlay: a plain file tree of ours with `{{ values }}`, and the package that carries it.
//!
//! ```text
//! overlays/master.toml     the package, and what a plain file tree cannot say
//! overlays/master/…        the files, as they will lie on the node
//! ```

pub mod lint;
mod maintainer_scripts;
pub mod role_package;
pub mod template;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;

use crate::base::name::{OverlayName, PackageName};
use crate::base::text::{SourceText, distinct};
use crate::base::tree::TreePath;
use crate::base::{Fault, Result};
use crate::recipe::{Files, text_of};

/// One overlay, not yet rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Its name, which is the folder's.
    pub name: OverlayName,
    /// The package that carries it.
    pub package: PackageName,
    /// The purpose of the package, in one line.
    pub about: String,
    /// Debian packages that its files and scripts need.
    pub depends: BTreeSet<PackageName>,
    /// Packages that it cannot stand beside.
    pub conflicts: BTreeSet<PackageName>,
    /// Directories made on the node that go with the package when it is purged and they are empty.
    pub leaves: BTreeSet<TreePath>,
    /// Units that are enabled when the package is installed.
    pub enable: BTreeSet<String>,
    /// Units that are started when the package is installed on a machine that runs.
    pub start: BTreeSet<String>,
    /// Directories that are there though nothing is in them, or that have an unusual mode.
    pub directories: BTreeMap<TreePath, u16>,
    /// Symbolic links, with their targets.
    pub links: BTreeMap<TreePath, String>,
    /// Files by their path on the node.
    pub files: BTreeMap<TreePath, OverlayFile>,
}

/// One file of an overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayFile {
    /// Its path in the checkout.
    pub file: String,
    /// Its text, with `{{ values }}`.
    pub text: String,
    /// Permission bits.
    pub mode: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOverlay {
    package: PackageName,
    about: String,
    #[serde(default)]
    depends: Vec<Spanned<PackageName>>,
    #[serde(default)]
    conflicts: Vec<Spanned<PackageName>>,
    #[serde(default)]
    leaves: Vec<Spanned<TreePath>>,
    #[serde(default)]
    enable: Vec<Spanned<String>>,
    #[serde(default)]
    start: Vec<Spanned<String>>,
    #[serde(default)]
    directories: BTreeMap<TreePath, Spanned<u16>>,
    #[serde(default)]
    links: BTreeMap<TreePath, String>,
    #[serde(default)]
    modes: BTreeMap<Spanned<TreePath>, Spanned<u16>>,
}

impl Overlay {
    /// Reads one overlay out of a checkout's files.
    pub fn parse(files: &Files, name: &OverlayName) -> Result<Self> {
        let file = format!("overlays/{name}.toml");
        let text = text_of(files, &file)?;
        let raw: RawOverlay = text.toml()?;
        let mut directories = BTreeMap::new();
        for (path, mode) in raw.directories {
            directories.insert(path, checked_mode(text, mode)?);
        }
        let mut overlay = Self {
            name: name.clone(),
            package: raw.package,
            about: raw.about,
            depends: distinct(text, raw.depends)?,
            conflicts: distinct(text, raw.conflicts)?,
            leaves: distinct(text, raw.leaves)?,
            enable: distinct(text, raw.enable)?,
            start: distinct(text, raw.start)?,
            directories,
            links: raw.links,
            files: files_below(files, name)?,
        };
        for (path, mode) in raw.modes {
            let Some(file) = overlay.files.get_mut(path.get_ref()) else {
                return Err(
                    text.fault(path.span(), format!("a mode for {}, which is no file", path.get_ref()))
                );
            };
            file.mode = checked_mode(text, mode)?;
        }
        Ok(overlay)
    }
}

fn files_below(files: &Files, name: &OverlayName) -> Result<BTreeMap<TreePath, OverlayFile>> {
    let prefix = format!("overlays/{name}/");
    let mut found = BTreeMap::new();
    for (file, text) in files {
        if let Some(path) = file.strip_prefix(&prefix) {
            let file = OverlayFile { file: file.clone(), text: text.clone(), mode: 0o644 };
            found.insert(TreePath::new(path)?, file);
        }
    }
    if found.is_empty() {
        return Err(Fault::user(format!("overlays/{name}/ holds no file")));
    }
    Ok(found)
}

fn checked_mode(text: SourceText<'_>, mode: Spanned<u16>) -> Result<u16> {
    let bits = *mode.get_ref();
    if bits & !0o2755 == 0 && bits & 0o400 != 0 {
        return Ok(bits);
    }
    let fault = text.fault(mode.span(), "a mode that no file of ours has");
    Err(fault.expected_found("0755 or fewer bits, readable by its owner", format!("{bits:04o}")))
}
