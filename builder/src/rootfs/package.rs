//! One unpacked package, as the tree that unpacking makes of a `.deb`:
//!
//! ```text
//! control/control     the control file; beside it the maintainer scripts, conffiles, md5sums, ...
//! data/               what the package installs, by the paths it was packed with
//! ```

use std::collections::BTreeMap;

use crate::base::name::PackageName;
use crate::base::tree::{Contents, Node, Tree, TreePath};
use crate::base::{Fault, Result};
use crate::formats::debian::control::{ControlText, Paragraph};

/// The folder of the control files.
pub(super) const CONTROL: &str = "control";
/// The folder of the installed files.
pub(super) const DATA: &str = "data";

/// A package that is about to be installed.
pub(super) struct UnpackedPackage {
    /// Its name.
    pub(super) name: PackageName,
    /// Its control file.
    pub(super) control: Paragraph,
    /// The other files of its control archive, by name.
    pub(super) members: BTreeMap<String, Node>,
    /// The files that it installs.
    pub(super) data: Tree,
}

impl UnpackedPackage {
    /// Reads a package back from its unpacked tree.
    pub(super) fn read(unpacked: &Tree, contents: &dyn Contents) -> Result<Self> {
        let (mut members, mut data) = (BTreeMap::new(), Tree::new());
        for (path, node) in unpacked.iter() {
            match path.as_str().split_once('/') {
                Some((CONTROL, name)) => {
                    members.insert(name.to_owned(), node.clone());
                }
                Some((DATA, path)) => data.insert(TreePath::new(path)?, node.clone())?,
                None if matches!(path.as_str(), CONTROL | DATA) => {}
                _ => return Err(Fault::bug(format!("an unpacked package holds {path}"))),
            }
        }
        let control = members.remove("control");
        let control = control.ok_or_else(|| Fault::integrity("a package without a control file"))?;
        let text = text(&control, contents)?;
        let control = ControlText::integrity("control", &text).read_one()?;
        let name = PackageName::new(control.need("Package")?)?;
        Ok(Self { name, control, members, data })
    }

    /// Returns the name of dpkg's files about this package before the dot: with the architecture where
    /// several may be installed at once (dpkg's `pkg_infodb`).
    pub(super) fn stem(&self) -> Result<String> {
        Ok(match self.control.get("Multi-Arch") {
            Some("same") => format!("{}:{}", self.name, self.control.need("Architecture")?),
            _ => self.name.to_string(),
        })
    }

    /// Returns the text of a control file, if the package has it.
    pub(super) fn member(&self, name: &str, contents: &dyn Contents) -> Result<Option<String>> {
        self.members.get(name).map(|node| text(node, contents)).transpose()
    }

    /// Returns the files that belong to the administrator (deb-conffiles(5)), without those that an upgrade is
    /// to remove.
    pub(super) fn conffiles(&self, contents: &dyn Contents) -> Result<Vec<TreePath>> {
        let text = self.member("conffiles", contents)?.unwrap_or_default();
        let paths = text.lines().map(str::trim_end).filter_map(|line| line.strip_prefix('/'));
        paths.map(TreePath::new).collect()
    }
}

fn text(node: &Node, contents: &dyn Contents) -> Result<String> {
    let crate::base::tree::Kind::File { content, .. } = &node.kind else {
        return Err(Fault::integrity("a control archive holds something that is no file"));
    };
    String::from_utf8(contents.read(content)?)
        .map_err(|_| Fault::integrity("a control file that is no UTF-8"))
}
