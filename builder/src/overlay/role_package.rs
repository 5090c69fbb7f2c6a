//! Role packages: `hale-common`, and `hale-master` or `hale-node`, as values that a packer writes.
//!
//! A role package is its rendered overlay, exact dependencies on everything that is pinned, and three
//! small scripts: users, directories, units.

use std::collections::{BTreeMap, BTreeSet};

use super::Overlay;
use super::template::{Rendered, Values, render};
use crate::base::Result;
use crate::base::name::{OverlayName, PackageName};
use crate::base::tree::TreePath;
use crate::formats::debian::control::Paragraph;
use crate::formats::debian::version::Version;
use crate::lock::Lock;
use crate::lock::pins::RoleVersions;
use crate::recipe::role::Role;
use crate::recipe::{Files, Recipe};

/// One role package.
#[derive(Clone, Debug)]
pub struct RolePackage {
    /// Its name.
    pub name: PackageName,
    /// The overlay whose files it carries; every path of the tree comes from there.
    pub overlay: OverlayName,
    /// The control file, without `Installed-Size`.
    pub control: Paragraph,
    /// Files below `etc/`, which belong to the administrator once installed (deb-conffiles(5)).
    pub conffiles: BTreeSet<TreePath>,
    /// Scripts by dpkg's name for them: `postinst`, `prerm`, `postrm`.
    pub scripts: BTreeMap<&'static str, String>,
    /// The rendered overlay.
    pub rendered: Rendered,
}

/// The overlay that lies under every role's.
pub const COMMON: &str = "common";

/// The overlay for disks built by Hale alone; it is not installed on existing machines.
pub const MACHINE: &str = "machine";

/// Makes the package of [`MACHINE`].
pub fn machine(files: &Files, recipe: &Recipe, role: &Role, lock: Option<&Lock>) -> Result<RolePackage> {
    let pinned = RoleVersions::new(recipe, role, lock)?;
    let overlay = Overlay::parse(files, &OverlayName::new(MACHINE)?)?;
    let values = Values::new(recipe, &pinned, None)?;
    role_package(&overlay, &values, &pinned.own, Vec::new(), &recipe.site.users.names())
}

/// The overlay that goes with images of ours.
pub const IMAGES: &str = "images";

/// Makes the package with a role's images, without the images; nothing for a role whose machines pull theirs.
pub fn images(files: &Files, recipe: &Recipe, role: &Role, lock: &Lock) -> Result<Option<RolePackage>> {
    let Some(name) = recipe.images_package(role)? else { return Ok(None) };
    let pinned = RoleVersions::new(recipe, role, Some(lock))?;
    let overlay = Overlay { package: name.clone(), ..Overlay::parse(files, &OverlayName::new(IMAGES)?)? };
    let values = Values::new(recipe, &pinned, None)?;
    let users = recipe.site.users.names();
    let mut package = role_package(&overlay, &values, &pinned.packages[&name], Vec::new(), &users)?;
    package.control.set("Architecture", lock.arch.to_string())?;
    Ok(Some(package))
}

/// Makes the role's packages, those that others depend on first. `programs` are the packages of our own programs
/// and their versions: `hale`.
pub fn role_packages(
    files: &Files,
    recipe: &Recipe,
    role: &Role,
    lock: Option<&Lock>,
    programs: &BTreeMap<PackageName, Version>,
) -> Result<Vec<RolePackage>> {
    let pinned = RoleVersions::new(recipe, role, lock)?;
    let common = Overlay::parse(files, &OverlayName::new(COMMON)?)?;
    let own = Overlay::parse(files, &role.overlay)?;
    let mut held = pinned.packages.clone();
    held.extend(programs.clone());
    held.extend([(common.package.clone(), pinned.own.clone()), (own.package.clone(), pinned.own.clone())]);
    // One `hale-common` for every role: it cannot know of any.
    let common_values = Values::new(recipe, &pinned, None)?;
    let own_values = Values::new(recipe, &pinned, Some((role, &held)))?;
    let users = recipe.site.users.names();
    let mut own_depends = exact(&pinned.packages);
    own_depends.push(format!("{} (= {})", common.package, pinned.own));
    Ok(vec![
        role_package(&common, &common_values, &pinned.own, exact(programs), &users)?,
        role_package(&own, &own_values, &pinned.own, own_depends, &users)?,
    ])
}

fn exact(packages: &BTreeMap<PackageName, Version>) -> Vec<String> {
    packages.iter().map(|(name, version)| format!("{name} (= {version})")).collect()
}

fn role_package(
    overlay: &Overlay,
    values: &Values,
    version: &Version,
    exact: Vec<String>,
    users: &[String],
) -> Result<RolePackage> {
    let rendered = render(overlay, values, &mut BTreeSet::new())?;
    let mut depends: Vec<_> = overlay.depends.iter().map(PackageName::to_string).collect();
    depends.extend(exact);
    depends.sort();
    let mut control = Paragraph::new();
    for (field, value) in [
        ("Package", overlay.package.to_string()),
        ("Version", version.to_string()),
        ("Architecture", "all".to_owned()),
        ("Maintainer", "The Hale maintainers <maintainers@hale.invalid>".to_owned()),
        ("Depends", depends.join(", ")),
        ("Conflicts", overlay.conflicts.iter().map(PackageName::to_string).collect::<Vec<_>>().join(", ")),
        ("Section", "admin".to_owned()),
        ("Priority", "optional".to_owned()),
        ("Description", overlay.about.clone()),
    ] {
        control.set(field, value)?;
    }
    let conffiles = overlay.files.keys().filter(|path| path.as_str().starts_with("etc/")).cloned().collect();
    let scripts = super::maintainer_scripts::scripts(overlay, users)?;
    Ok(RolePackage {
        name: overlay.package.clone(),
        overlay: overlay.name.clone(),
        control,
        conffiles,
        scripts,
        rendered,
    })
}
