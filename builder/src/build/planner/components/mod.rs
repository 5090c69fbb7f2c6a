//! Component packages: third-party programs as `.deb`s of ours, each whose input is in the store.
//!
//! ```text
//! dist/components/
//!   kubelet_1.17.17+hale1_amd64.deb …    one a component whose bytes are in the store
//!   SHA256SUMS
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::images;
use super::supply::{ComponentsPlan, Supply};
use crate::base::name::PackageName;
use crate::base::tree::TreePath;
use crate::base::{Fault, Result};
use crate::formats::debian::version::Version;
use crate::lock::pins::own_version;
use crate::lock::{Lock, LockedInput, LockedOrigin};
use crate::plan::{self, Step};
use crate::recipe::component::{Component, ComponentPackage};
use crate::recipe::{Files, Recipe};
use crate::store::Store;

/// Plans a package for each component of the line that becomes one and whose bytes are in the store, and one with
/// each role's images.
/// Refuses a combination of versions that the line's rules forbid.
pub fn plan(files: &Files, recipe: &Recipe, lock: &Lock, store: &Store) -> Result<ComponentsPlan> {
    recipe.line.check(&lock.versions(recipe))?;
    let (mut planned, mut parts) = (ComponentsPlan::default(), BTreeMap::new());
    for (name, component) in &recipe.components {
        let Some(package) = component.package() else { continue };
        let input = lock.inputs.get(name).ok_or_else(|| {
            Fault::user(format!("the lock knows nothing of `{name}`"))
                .help(format!("cargo xtask lock {}", lock.line))
        })?;
        let texts = BTreeMap::from([(copyright_path(&package.name)?, copyright(component, input))]);
        let from = Supply { recipe, lock, store };
        let Some(tree) = from.payload(&mut planned, component, input, &package.files, texts)? else {
            continue;
        };
        let own = own_version(recipe, Some(lock), name)?;
        let about = control(component, package, input, &own, lock);
        let deb = Step::Deb { package: about, tree, epoch: lock.epoch };
        let deb = planned.plan.add(format!("deb {}", package.name), deb)?;
        let file = format!("{}_{}_{}.deb", package.name, own.without_epoch(), lock.arch);
        parts.insert(TreePath::new(file)?, deb);
        planned.packages.insert(package.name.clone(), own);
    }
    for role in recipe.roles.values() {
        let images = images::plan(files, recipe, role, lock, store, &mut planned)?;
        parts.extend(images);
    }
    if !parts.is_empty() {
        let goal = planned.plan.add("components", Step::Bundle { parts, bill: None })?;
        planned.plan.want(goal);
        planned.goal = Some(goal);
    }
    Ok(planned)
}

/// The control fields. Dependencies are Debian's packages, whose versions the lock and the role decide.
fn control(
    component: &Component,
    package: &ComponentPackage,
    input: &LockedInput,
    own: &Version,
    lock: &Lock,
) -> plan::DebMetadata {
    let description = format!(
        "{}\nThe program as its makers publish it, {} {}, packed by Hale for line {}.",
        component.about, component.name, input.version, lock.line
    );
    let fields = [
        ("Package", package.name.to_string()),
        ("Version", own.to_string()),
        ("Architecture", lock.arch.to_string()),
        ("Maintainer", "The Hale maintainers <maintainers@hale.invalid>".to_owned()),
        ("Depends", package.depends.join(", ")),
        ("Section", "admin".to_owned()),
        ("Priority", "optional".to_owned()),
        ("Description", description),
    ];
    let control = fields.into_iter().filter(|(_, value)| !value.is_empty());
    plan::DebMetadata {
        control: control.map(|(name, value)| (name.to_owned(), value)).collect(),
        conffiles: BTreeSet::new(),
        scripts: BTreeMap::new(),
        triggers: Vec::new(),
    }
}

/// Every package has one (Debian Policy 12.5).
fn copyright_path(package: &PackageName) -> Result<TreePath> {
    TreePath::new(format!("usr/share/doc/{package}/copyright"))
}

/// A copyright file in Debian's machine-readable form. It says what the recipe knows: the licence, and where
/// the bytes come from.
fn copyright(component: &Component, input: &LockedInput) -> String {
    let source = match &input.from {
        LockedOrigin::Download { url, .. } => url.clone(),
        LockedOrigin::Supplied { file, digest, .. } => {
            format!("handed over by the operator as {file}, {digest}")
        }
        LockedOrigin::Image { registry, repository, .. } => format!("{registry}/{repository}"),
        LockedOrigin::SourcePackage { source } => format!("compiled from Debian's source package {source}"),
        LockedOrigin::Provided => "handed over by the operator".to_owned(),
    };
    format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: {}\nSource: \
         {source}\n\nFiles: *\nCopyright: its authors, as its source names them\nLicense: {}\n",
        component.name, component.license
    )
}

#[cfg(test)]
mod tests;
