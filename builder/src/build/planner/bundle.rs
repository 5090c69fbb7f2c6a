//! The plan of a role's bundle: its packages, their image, and what says what they are made of.

use std::collections::{BTreeMap, BTreeSet};

use super::{BuildTarget, packing};
use crate::base::digest::Checksum;
use crate::base::name::PackageName;
use crate::base::tree::TreePath;
use crate::base::{Fault, Result};
use crate::formats::debian::version::Version;
use crate::host::cargo;
use crate::lock::{Lock, LockedFile, LockedOrigin};
use crate::overlay::role_package::{RolePackage, role_packages};
use crate::plan::bill::{BillOfMaterials, BundlePackage, FileOrigin, Input};
use crate::plan::{BundleStep, ImageStep, LayerSpec, Plan, ProgramStep, StepId, UnpackStep};
use crate::recipe::role::Role;
use crate::recipe::{Recipe, ResolvedOrigin};
use crate::store::Store;

/// The role's plan and its sources. Rendered overlays are in the store already.
pub struct BundlePlan {
    /// The steps; the bundle is the one goal.
    pub plan: Plan,
    /// The recipe.
    pub recipe: Recipe,
    /// The lock.
    pub lock: Lock,
    /// Packages of the role, those that others depend on first, with their versions.
    pub packages: Vec<(PackageName, Version)>,
    /// The bundle.
    pub goal: StepId,
}

/// Reads the checkout and plans. No lock, no plan.
pub fn plan(target: &BuildTarget, store: &Store) -> Result<BundlePlan> {
    let files = target.project.files()?;
    let recipe = Recipe::parse(files, &target.line)?;
    let lock = target.project.lock(&recipe)?;
    let role = recipe.role(target.role.as_str())?;
    let programs = cargo::packages(target.project.root())?;
    let mut draft = Draft { plan: Plan::new(), parts: BTreeMap::new(), packages: Vec::new() };
    for (name, version) in &programs {
        draft.program(name, version, target, &lock)?;
    }
    for package in role_packages(files, &recipe, role, Some(&lock), &programs)? {
        draft.role_package(&package, &lock, store)?;
    }
    let packages =
        draft.packages.iter().map(|package| (package.name.clone(), package.version.clone())).collect();
    let goal = draft.finish(target, &recipe, &lock)?;
    Ok(BundlePlan { plan: draft.plan, recipe, lock, packages, goal })
}

struct Draft {
    plan: Plan,
    parts: BTreeMap<TreePath, StepId>,
    packages: Vec<BundlePackage>,
}

impl Draft {
    fn program(
        &mut self,
        name: &PackageName,
        version: &Version,
        target: &BuildTarget,
        lock: &Lock,
    ) -> Result<()> {
        let sources = cargo::identity(target.project.root(), &target.toolchain)?;
        let deb = self.plan.add(format!("deb {name}"), ProgramStep { sources, epoch: lock.epoch })?;
        let tree = self.plan.add(format!("unpack {name}"), UnpackStep { deb })?;
        self.parts.insert(TreePath::new(format!("{name}_{version}_{}.deb", lock.arch))?, deb);
        self.packages.push(BundlePackage {
            name: name.clone(),
            version: version.clone(),
            arch: lock.arch,
            origin: FileOrigin::Program(name.clone()),
            source: Checksum::Sha256(sources),
            deb,
            tree,
        });
        Ok(())
    }

    fn role_package(&mut self, package: &RolePackage, lock: &Lock, store: &Store) -> Result<()> {
        let (files, tree, deb) = packing::pack(&mut self.plan, package, lock.epoch, store)?;
        let (name, arch) = (&package.name, packing::field(package, "Architecture")?);
        let version: Version = packing::field(package, "Version")?.parse()?;
        self.parts.insert(TreePath::new(format!("{name}_{version}_{arch}.deb"))?, deb);
        self.packages.push(BundlePackage {
            name: name.clone(),
            version,
            arch: arch.parse()?,
            origin: FileOrigin::Overlay(package.overlay.clone()),
            source: Checksum::Sha256(files),
            deb,
            tree,
        });
        Ok(())
    }

    fn finish(&mut self, target: &BuildTarget, recipe: &Recipe, lock: &Lock) -> Result<StepId> {
        let own = self.packages.last().ok_or_else(|| Fault::bug("a role without packages"))?;
        let annotation = |name: &str, value: String| (name.to_owned(), value);
        let image = ImageStep {
            title: own.name.to_string(),
            version: own.version.clone(),
            about: format!("Files of a {} of line {}, one layer a package", target.role, target.line),
            licenses: "MIT OR Apache-2.0".to_owned(),
            annotations: BTreeMap::from([
                annotation("hale.line", target.line.to_string()),
                annotation("hale.role", target.role.to_string()),
                annotation("hale.lock", lock.digest()?.to_string()),
            ]),
            arch: lock.arch,
            layers: self.packages.iter().map(layer).collect(),
            epoch: lock.epoch,
        };
        let image = self.plan.add("image", image)?;
        self.parts.insert(TreePath::new("oci")?, image);
        let bill = Some(BillOfMaterials {
            line: target.line.clone(),
            role: target.role.clone(),
            arch: lock.arch,
            epoch: lock.epoch,
            recipe: lock.recipe,
            lock: lock.digest()?,
            builder: cargo::digest_of(target.project.root(), BUILDER)?,
            packages: self.packages.clone(),
            inputs: inputs(recipe.role(target.role.as_str())?, recipe, lock)?,
        });
        let goal = self.plan.add("bundle", BundleStep { parts: self.parts.clone(), bill })?;
        self.plan.want(goal);
        Ok(goal)
    }
}

/// The sources of the builder, and the crates it is linked with.
const BUILDER: &[&str] = &["Cargo.lock", "Cargo.toml", "rust-toolchain.toml", "builder", "xtask"];

fn layer(package: &BundlePackage) -> LayerSpec {
    LayerSpec { package: package.name.clone(), version: package.version.clone(), tree: package.tree }
}

/// What the role's packages depend on, as the lock has it.
fn inputs(role: &Role, recipe: &Recipe, lock: &Lock) -> Result<BTreeSet<Input>> {
    let mut inputs = BTreeSet::new();
    for name in &role.components {
        let version = lock.version_of(recipe, name)?.to_string();
        let mut input =
            Input { name: name.to_string(), version, checksum: None, location: None, local: false };
        match lock.inputs.get(name).map(|locked| &locked.from) {
            Some(LockedOrigin::Download { url, checksum, .. }) => {
                (input.checksum, input.location) = (Some(*checksum), Some(url.clone()));
            }
            Some(LockedOrigin::Image { registry, repository, digest }) => {
                input.checksum = Some(Checksum::Sha256(*digest));
                input.location = Some(format!("{registry}/{repository}@{digest}"));
            }
            Some(LockedOrigin::Supplied { digest, .. }) => {
                (input.checksum, input.local) = (Some(Checksum::Sha256(*digest)), true);
            }
            Some(LockedOrigin::SourcePackage { source }) => {
                let description = |file: &&LockedFile| file.path.file_name().ends_with(".dsc");
                let files = lock.sources.get(source).into_iter().flat_map(|source| &source.file);
                if let Some(file) = files.clone().find(description) {
                    input.checksum = Some(Checksum::Sha256(file.sha256));
                    input.location = Some(file.path.to_string());
                }
            }
            Some(LockedOrigin::Provided) => {}
            None => {
                let ResolvedOrigin::Debian { package } = recipe.source(name)? else { continue };
                if let Some(locked) = lock.packages.values().find(|locked| locked.name == package) {
                    input.checksum = Some(Checksum::Sha256(locked.sha256));
                    input.location = Some(locked.path.to_string());
                }
            }
        }
        inputs.insert(input);
    }
    Ok(inputs)
}
