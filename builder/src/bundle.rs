//! Role packages: `hale-common`, and `hale-master` or `hale-node`, as values that a packer writes.
//!
//! A role package is its rendered overlay, exact dependencies on everything that is pinned, and three
//! small scripts: users, directories, units.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::name::{OverlayName, PackageName};
use crate::base::{Fault, Result};
use crate::debian::control::Paragraph;
use crate::debian::version::Version;
use crate::lock::Lock;
use crate::overlay::Overlay;
use crate::pinned::Pinned;
use crate::recipe::{Files, Recipe};
use crate::render::{Rendered, Values, render};
use crate::role::Role;
use crate::tree::TreePath;

/// One role package.
#[derive(Clone, Debug)]
pub struct Bundle {
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

/// The role's packages, those that others depend on first. `programs` are the packages of our own programs
/// and their versions: `hale`.
pub fn bundles(
    files: &Files,
    recipe: &Recipe,
    role: &Role,
    lock: Option<&Lock>,
    programs: &BTreeMap<PackageName, Version>,
) -> Result<Vec<Bundle>> {
    let pinned = Pinned::new(recipe, role, lock)?;
    let common = Overlay::parse(files, &OverlayName::new(COMMON)?)?;
    let own = Overlay::parse(files, &role.overlay)?;
    let mut held = pinned.packages.clone();
    held.extend(programs.clone());
    held.extend([(common.package.clone(), pinned.own.clone()), (own.package.clone(), pinned.own.clone())]);
    // One `hale-common` for every role: it cannot know of any.
    let common_values = Values::new(recipe, &pinned.versions, None)?;
    let own_values = Values::new(recipe, &pinned.versions, Some((role, &held)))?;
    let mut own_depends = exact(&pinned.packages);
    own_depends.push(format!("{} (= {})", common.package, pinned.own));
    Ok(vec![
        bundle(&common, &common_values, &pinned.own, exact(programs))?,
        bundle(&own, &own_values, &pinned.own, own_depends)?,
    ])
}

fn exact(packages: &BTreeMap<PackageName, Version>) -> Vec<String> {
    packages.iter().map(|(name, version)| format!("{name} (= {version})")).collect()
}

fn bundle(overlay: &Overlay, values: &Values, version: &Version, exact: Vec<String>) -> Result<Bundle> {
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
    let scripts = scripts(overlay)?;
    Ok(Bundle {
        name: overlay.package.clone(),
        overlay: overlay.name.clone(),
        control,
        conffiles,
        scripts,
        rendered,
    })
}

/// Scripts that may run again and again, with or without a running systemd, and in a root tree that is
/// being built (`DPKG_ROOT` empty, systemd not running).
fn scripts(overlay: &Overlay) -> Result<BTreeMap<&'static str, String>> {
    let below = |folder: &str| -> Vec<&str> {
        let files = overlay.files.keys().map(TreePath::as_str);
        files.filter_map(|path| path.strip_prefix(folder)).collect()
    };
    let users = below("usr/lib/sysusers.d/").join(" ");
    let directories = below("usr/lib/tmpfiles.d/").join(" ");
    let units: Vec<_> = overlay.enable.iter().map(String::as_str).collect();
    for unit in &units {
        if !overlay.files.keys().any(|path| path.as_str() == format!("usr/lib/systemd/system/{unit}")) {
            let what = format!("overlays/{}.toml enables `{unit}`, which it does not hold", overlay.name);
            return Err(Fault::user(what));
        }
    }
    let units = units.join(" ");
    let step = |list: &str, text: String| if list.is_empty() { String::new() } else { text };
    let postinst = format!(
        "#!/bin/sh\nset -e\n\n[ \"$1\" = configure ] || exit 0\n{}{}{}if [ -d /run/systemd/system ]; then\n    \
         systemctl daemon-reload\nfi\n",
        step(&users, format!("systemd-sysusers {users}\n")),
        step(
            &directories,
            // 73: something could not be made in a root that is not booted, such as under /run.
            format!("systemd-tmpfiles --create {directories} || [ $? -eq 73 ]\n"),
        ),
        step(
            &units,
            format!(
                "for unit in {units}; do\n    deb-systemd-helper unmask \"$unit\" >/dev/null\n    \
                 deb-systemd-helper enable \"$unit\" >/dev/null\n    deb-systemd-helper update-state \"$unit\" \
                 >/dev/null\ndone\n"
            ),
        ),
    );
    let prerm = format!(
        "#!/bin/sh\nset -e\n\n[ \"$1\" = remove ] || exit 0\nif [ -d /run/systemd/system ]; then\n    \
         deb-systemd-invoke stop {units} >/dev/null\nfi\n"
    );
    let postrm = format!(
        "#!/bin/sh\nset -e\n\ncase \"$1\" in\nremove)\n{}    ;;\npurge)\n{}{}    ;;\nesac\nif [ -d \
         /run/systemd/system ]; then\n    systemctl daemon-reload\nfi\n",
        step(&units, format!("    deb-systemd-helper mask {units} >/dev/null\n")),
        step(
            &units,
            format!(
                "    deb-systemd-helper purge {units} >/dev/null\n    deb-systemd-helper unmask {units} \
                 >/dev/null\n"
            ),
        ),
        purge(overlay),
    );
    let mut scripts = BTreeMap::from([("postinst", postinst), ("postrm", postrm)]);
    if !units.is_empty() {
        scripts.insert("prerm", prerm);
    }
    Ok(scripts)
}

/// Takes away what the overlay says it leaves: directories when they are empty, then the user when nothing
/// of its is left.
fn purge(overlay: &Overlay) -> String {
    let mut text = String::new();
    for directory in overlay.leaves.iter().rev() {
        text.push_str(&format!("    rmdir --ignore-fail-on-non-empty /{directory} 2>/dev/null || true\n"));
    }
    text
}
