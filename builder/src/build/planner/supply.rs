//! The bytes of components, as far as the store has them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::inputs::{are_fetched, packages};
use crate::base::digest::Checksum;
use crate::base::name::{Arch, ComponentName, LineName, PackageName};
use crate::base::tree::TreePath;
use crate::base::{Fault, Result};
use crate::formats::debian::version::Version;
use crate::lock::{Lock, LockedInput, LockedOrigin};
use crate::plan::{CompileStep, InputStep, PayloadStep, Plan, RootStep, StepId};
use crate::recipe::Recipe;
use crate::recipe::component::{ArchiveKind, Component, Origin, Payload, UpstreamRelease, WantedFile};
use crate::recipe::source_build;
use crate::store::Store;

/// The plan of a line's component packages.
#[derive(Clone, Debug, Default)]
pub struct ComponentsPlan {
    /// The steps; the bundle is the one goal, if there is anything in it.
    pub plan: Plan,
    /// The bundle.
    pub goal: Option<StepId>,
    /// What it holds.
    pub packages: BTreeMap<PackageName, Version>,
    /// Components whose bytes are not here.
    pub missing: BTreeMap<ComponentName, MissingComponent>,
}

/// A component that is not in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissingComponent {
    /// The version that is wanted.
    pub version: Version,
    /// Why it is not in it.
    pub why: &'static str,
    /// How a person brings it.
    #[serde(rename = "mend")]
    pub help: String,
}

impl ComponentsPlan {
    /// Notes that a component is missing; the first reason stands.
    pub(crate) fn note_missing(&mut self, component: &ComponentName, missing: MissingComponent) {
        self.missing.entry(component.clone()).or_insert(missing);
    }
}

/// Where the bytes of a line's components are looked for.
#[derive(Clone, Copy)]
pub(crate) struct Supply<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) lock: &'a Lock,
    pub(crate) store: &'a Store,
}

impl Supply<'_> {
    /// Plans the tree of a component's files, with some texts beside them. Returns `None`, and notes the component as
    /// missing, if the store has not its input.
    pub(crate) fn payload(
        self,
        planned: &mut ComponentsPlan,
        component: &Component,
        input: &LockedInput,
        files: &BTreeMap<TreePath, Payload>,
        texts: BTreeMap<TreePath, String>,
    ) -> Result<Option<StepId>> {
        let Some((bytes, archive)) = self.find_input(&mut planned.plan, component, input)? else {
            planned.note_missing(&component.name, missing(component, input, &self.lock.line));
            return Ok(None);
        };
        let release = release(&component.name, files, archive, self.lock.arch, &input.version)?;
        let payload = PayloadStep { input: bytes, release, texts };
        planned.plan.add(format!("payload {}", component.name), payload).map(Some)
    }

    /// Adds the step that brings a component's bytes, if the store has what it takes, and says how its files are
    /// got out of them.
    fn find_input(
        self,
        plan: &mut Plan,
        component: &Component,
        input: &LockedInput,
    ) -> Result<Option<(StepId, ArchiveKind)>> {
        let (checksum, archive) = match (&input.from, &component.from) {
            (LockedOrigin::SourcePackage { source }, _) => {
                return Ok(self.compiled(plan, source)?.map(|step| (step, ArchiveKind::None)));
            }
            (LockedOrigin::Supplied { file, digest, .. }, _) => {
                (Checksum::Sha256(*digest), ArchiveKind::of_file(file))
            }
            (LockedOrigin::Download { checksum, .. }, Origin::Download { archive, .. }) => {
                (*checksum, *archive)
            }
            (LockedOrigin::Provided, _) => return Ok(None),
            _ => {
                return Err(Fault::bug(format!("{} comes from somewhere else than it says", component.name)));
            }
        };
        if self.store.output(&StepId::of_input(checksum)?)?.is_none() {
            return Ok(None);
        }
        let step = plan.add(format!("input {}", component.name), InputStep { checksum })?;
        Ok(Some((step, archive)))
    }

    /// Adds the step that compiles a source package, if the store has its files and what its build needs.
    fn compiled(self, plan: &mut Plan, source: &PackageName) -> Result<Option<StepId>> {
        let Self { recipe, lock, store } = self;
        let (Some(locked), Some(build)) = (lock.sources.get(source), recipe.sources.get(source)) else {
            return Err(Fault::bug(format!("no source package `{source}`")));
        };
        let mut files = BTreeMap::new();
        for file in &locked.file {
            let checksum = Checksum::Sha256(file.sha256);
            let name = file.path.file_name();
            if store.output(&StepId::of_input(checksum)?)?.is_none() {
                return Ok(None);
            }
            files.insert(name.to_owned(), plan.add(format!("source {name}"), InputStep { checksum })?);
        }
        let group = source_build::group(source)?;
        if !are_fetched(lock, store, group.as_str())? {
            return Ok(None);
        }
        let packages = packages(plan, lock, store, &[group.as_str()])?;
        let (epoch, compilation) = (lock.epoch, build.compilation.clone());
        let root = plan.add(format!("root of {group}"), RootStep { packages, epoch })?;
        plan.add(format!("compile {source}"), CompileStep { source: files, root, compilation, epoch })
            .map(Some)
    }
}

fn missing(component: &Component, input: &LockedInput, line: &LineName) -> MissingComponent {
    let (why, help) = match (&component.from, &input.from) {
        (_, LockedOrigin::Supplied { file, .. }) => {
            ("its file left the store", format!("hand {file} over again with cargo xtask input add"))
        }
        (Origin::Provided { how }, _) => {
            ("nobody publishes it", how.replace("{version}", input.version.as_str()))
        }
        (_, LockedOrigin::SourcePackage { .. }) => {
            ("not all that it is compiled from was fetched yet", format!("cargo xtask fetch {line}"))
        }
        _ => ("it was not fetched yet", format!("cargo xtask fetch --only {}", component.name)),
    };
    MissingComponent { version: input.version.clone(), why, help }
}

fn release(
    name: &ComponentName,
    payloads: &BTreeMap<TreePath, Payload>,
    archive: ArchiveKind,
    arch: Arch,
    version: &Version,
) -> Result<UpstreamRelease> {
    let mut files = BTreeMap::new();
    for (path, payload) in payloads {
        let places = payload.places(path, version.as_str())?;
        files.insert(path.clone(), WantedFile { places, mode: payload.mode });
    }
    Ok(UpstreamRelease { name: format!("{name} {version}"), archive, arch, files })
}
