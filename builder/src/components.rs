//! Component packages: other people's programs as `.deb`s of ours, as far as their bytes are here.
//!
//! ```text
//! dist/components/
//!   kubelet_1.17.17+hale1_amd64.deb …    one a component whose bytes are in the store
//!   SHA256SUMS
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::base::digest::Checksum;
use crate::base::name::{ComponentName, PackageName};
use crate::base::{Fault, Result};
use crate::component::{Archive, Component, Origin, Package, Release, Wanted};
use crate::debian::version::Version;
use crate::lock::{From, Lock, LockedInput};
use crate::payload;
use crate::pinned::own_version;
use crate::plan::{self, Output, Plan, Step, StepId};
use crate::recipe::Recipe;
use crate::store::Store;
use crate::tree::{Contents, Node, TreePath};

/// The plan of a line's component packages.
#[derive(Clone, Debug, Default)]
pub struct Planned {
    /// The steps; the bundle is the one goal, if there is anything in it.
    pub plan: Plan,
    /// The bundle.
    pub goal: Option<StepId>,
    /// What it holds.
    pub packages: BTreeMap<PackageName, Version>,
    /// Components whose bytes are not here.
    pub missing: Vec<Missing>,
}

/// A component that cannot be packed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub component: ComponentName,
    /// The version that is wanted.
    pub version: Version,
    /// Why its bytes are not here.
    pub why: &'static str,
    /// How a person brings it.
    pub mend: String,
}

/// Plans a package for each component of the line that becomes one and whose bytes are in the store.
/// Refuses a combination of versions that the line's rules forbid.
pub fn plan(recipe: &Recipe, lock: &Lock, store: &Store) -> Result<Planned> {
    let mut versions = recipe.line.versions();
    versions.extend(lock.inputs.values().map(|input| (input.component.clone(), input.version.clone())));
    recipe.line.check(&versions)?;
    let (mut planned, mut parts) = (Planned::default(), BTreeMap::new());
    for (name, component) in &recipe.components {
        let Some(package) = component.package() else { continue };
        let input = lock.inputs.get(name).ok_or_else(|| {
            Fault::user(format!("the lock knows nothing of `{name}`"))
                .mend(format!("cargo xtask lock {}", lock.line))
        })?;
        let Some((checksum, archive)) = here(component, input, store)? else {
            planned.missing.push(missing(component, input));
            continue;
        };
        let own = own_version(recipe, Some(lock), name)?;
        let bytes = planned.plan.add(format!("input {name}"), Step::Input { checksum })?;
        let release = release(name, package, archive, lock, &input.version)?;
        let texts = BTreeMap::from([(copyright_path(package)?, copyright(component, input))]);
        let payload = Step::Payload { input: bytes, release, texts };
        let tree = planned.plan.add(format!("payload {name}"), payload)?;
        let about = control(component, package, input, &own, lock);
        let deb = Step::Deb { package: about, tree, epoch: lock.epoch };
        let deb = planned.plan.add(format!("deb {}", package.name), deb)?;
        let file = format!("{}_{}_{}.deb", package.name, own.without_epoch(), lock.arch);
        parts.insert(TreePath::new(file)?, deb);
        planned.packages.insert(package.name.clone(), own);
    }
    if !parts.is_empty() {
        let goal = planned.plan.add("components", Step::Bundle { parts, bill: None })?;
        planned.plan.want(goal);
        planned.goal = Some(goal);
    }
    Ok(planned)
}

/// By what a component's bytes are known and how its files are got out, if the store has them.
fn here(component: &Component, input: &LockedInput, store: &Store) -> Result<Option<(Checksum, Archive)>> {
    let known = match (&input.from, &component.from) {
        (From::Added { file, digest, .. }, _) => (Checksum::Sha256(*digest), Archive::of_file(file)),
        (From::Url { checksum, .. }, Origin::Url { archive, .. }) => (*checksum, *archive),
        (From::Provided, _) => return Ok(None),
        _ => return Err(Fault::bug(format!("{} comes from somewhere else than it says", component.name))),
    };
    Ok(store.output(&StepId::of_input(known.0)?)?.map(|_| known))
}

fn missing(component: &Component, input: &LockedInput) -> Missing {
    let (why, mend) = match (&component.from, &input.from) {
        (_, From::Added { file, .. }) => {
            ("its file left the store", format!("hand {file} over again with cargo xtask input add"))
        }
        (Origin::Provided { how }, _) => {
            ("nobody publishes it", how.replace("{version}", input.version.as_str()))
        }
        _ => ("it was not fetched yet", format!("cargo xtask fetch --only {}", component.name)),
    };
    Missing { component: component.name.clone(), version: input.version.clone(), why, mend }
}

fn release(
    name: &ComponentName,
    package: &Package,
    archive: Archive,
    lock: &Lock,
    version: &Version,
) -> Result<Release> {
    let mut files = BTreeMap::new();
    for (path, payload) in &package.files {
        let places = payload.places(path, version.as_str())?;
        files.insert(path.clone(), Wanted { places, mode: payload.mode });
    }
    Ok(Release { name: format!("{name} {version}"), archive, arch: lock.arch, files })
}

/// The control fields. Dependencies are Debian's packages, whose versions the lock and the role decide.
fn control(
    component: &Component,
    package: &Package,
    input: &LockedInput,
    own: &Version,
    lock: &Lock,
) -> plan::Package {
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
    plan::Package {
        control: control.map(|(name, value)| (name.to_owned(), value)).collect(),
        conffiles: BTreeSet::new(),
        scripts: BTreeMap::new(),
        triggers: Vec::new(),
    }
}

/// Every package has one (Debian Policy 12.5).
fn copyright_path(package: &Package) -> Result<TreePath> {
    TreePath::new(format!("usr/share/doc/{}/copyright", package.name))
}

/// A copyright file in Debian's machine-readable form. It says what the recipe knows: the licence, and where
/// the bytes come from.
fn copyright(component: &Component, input: &LockedInput) -> String {
    let source = match &input.from {
        From::Url { url, .. } => url.clone(),
        From::Added { file, digest, .. } => format!("handed over by the operator as {file}, {digest}"),
        From::Image { registry, repository, .. } => format!("{registry}/{repository}"),
        From::Provided => "handed over by the operator".to_owned(),
    };
    format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: {}\nSource: \
         {source}\n\nFiles: *\nCopyright: its authors, as its source names them\nLicense: {}\n",
        component.name, component.licence
    )
}

/// Makes a [`Step::Payload`]: takes the wanted files out of the release that the store holds.
pub fn unpack(
    store: &Store,
    input: Output,
    release: &Release,
    texts: &BTreeMap<TreePath, String>,
) -> Result<Output> {
    let Output::Blob { content, size } = input else { return Err(Fault::bug("a release is a file")) };
    let batch = store.batch()?;
    let mut tree = payload::tree(release, &mut store.open(&content)?, size, &mut &batch)?;
    for (path, text) in texts {
        let node = Node::file(batch.put_bytes(text.as_bytes())?, text.len() as u64, 0o644);
        tree.insert(path.clone(), node)?;
    }
    batch.commit()?;
    Ok(Output::Tree { tree: store.put_tree(&tree)? })
}

#[cfg(test)]
mod tests;
