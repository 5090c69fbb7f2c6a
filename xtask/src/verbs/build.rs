//! `cargo xtask build ROLE`: the role's packages and image in `dist/<role>/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use builder::base::Result;
use builder::base::name::ComponentName;
use builder::base::tree::Kind;
use builder::build::executor::{BuildResults, StepResult};
use builder::build::planner::bundle::{self, BundlePlan};
use builder::build::planner::supply::MissingComponent;
use builder::build::planner::{self, BuildTarget};
use builder::dist::repository::COMPONENTS;
use builder::lock::LockedOrigin;
use builder::plan::Output;
use builder::recipe::ResolvedOrigin;
use builder::store::{IoStats, Store};
use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::run::{peak_memory, publish, realise};
use crate::target::{Jobs, Target};
use crate::ui::table::{self, Table};
use crate::verbs::components::{self, Overridden};

/// Arguments of `build`.
#[derive(Args)]
pub(crate) struct Build {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    jobs: Jobs,
    /// Where bundles go [default: dist in the checkout, for another line than the site's dist/LINE].
    #[arg(long, value_name = "DIR")]
    dist: Option<PathBuf>,
}

/// What a build tells.
#[derive(Serialize)]
struct BuildReport {
    role: String,
    dist: String,
    seconds: f64,
    steps: usize,
    made: usize,
    files: BTreeMap<String, WrittenFile>,
    missing: BTreeMap<ComponentName, MissingComponent>,
    local: Vec<String>,
    overridden: BTreeMap<String, Overridden>,
    /// Bytes that the store has hashed and written for this process so far.
    spent: IoStats,
    /// The most memory that this process has had, in bytes.
    peak_memory: u64,
}

/// One file of a bundle.
#[derive(Serialize)]
struct WrittenFile {
    size: u64,
    digest: String,
}

impl Build {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let store = Store::open(&context.store)?;
        let project = context.project()?;
        let line = self.target.line(project)?;
        let dist = self.dist.clone().map_or_else(|| project.dist(&line), Ok)?;
        if self.target.has_roles() {
            self.roles(context, &store, &dist)?;
        }
        if self.target.has_components() {
            components::build(context, &store, &line, self.jobs, &dist.join(COMPONENTS))?;
        }
        Ok(())
    }

    fn roles(&self, context: &Context, store: &Store, dist: &Path) -> Result<()> {
        for target in self.target.targets(context)? {
            let start = Instant::now();
            let planned = bundle::plan(&target, store)?;
            let built = realise(context, store, &planned.plan, self.jobs)?;
            let to = dist.join(target.role.as_str());
            let output = publish(store, &planned.plan, planned.goal, &built, &to)?;
            let bundle = Bundle { target: &target, planned: &planned, built: &built, output, to: &to };
            bundle.summary(store, start.elapsed().as_secs_f64())?.show(context)?;
        }
        Ok(())
    }
}

/// A bundle that was built and put in its place.
struct Bundle<'a> {
    target: &'a BuildTarget,
    planned: &'a BundlePlan,
    built: &'a BuildResults,
    output: Output,
    to: &'a Path,
}

impl Bundle<'_> {
    fn summary(&self, store: &Store, seconds: f64) -> Result<BuildReport> {
        let mut files = BTreeMap::new();
        for (path, node) in store.tree(&self.output.digest())?.iter() {
            if let Kind::File { content, size } = &node.kind {
                files.insert(path.to_string(), WrittenFile { size: *size, digest: content.to_string() });
            }
        }
        let local = self.planned.lock.inputs.values();
        let local = local.filter(|input| matches!(input.from, LockedOrigin::Supplied { .. }));
        Ok(BuildReport {
            role: self.target.role.to_string(),
            dist: self.to.display().to_string(),
            seconds,
            steps: self.planned.plan.len(),
            made: self.built.values().filter(|(_, way)| *way == StepResult::Built).count(),
            files,
            missing: self.missing(store)?,
            local: local.map(|input| format!("{} {}", input.component, input.version)).collect(),
            overridden: components::overridden(&self.planned.recipe, &self.planned.lock),
            spent: store.io_stats(),
            peak_memory: peak_memory(),
        })
    }

    /// The role's components. A bundle depends on their packages and holds none of them.
    fn missing(&self, store: &Store) -> Result<BTreeMap<ComponentName, MissingComponent>> {
        let BundlePlan { recipe, lock, .. } = self.planned;
        let files = self.target.project.files()?;
        let mut absent = planner::components::plan(files, recipe, lock, store)?.missing;
        let mut missing = BTreeMap::new();
        for name in &recipe.role(self.target.role.as_str())?.components {
            let (why, help) = match recipe.source(name)? {
                ResolvedOrigin::Debian { .. } => ("it is Debian's own package", "nothing: apt brings it"),
                ResolvedOrigin::Image { .. } => {
                    ("it is an image", "nothing: the node pulls it by its digest")
                }
                ResolvedOrigin::Download { .. }
                | ResolvedOrigin::SourcePackage { .. }
                | ResolvedOrigin::Provided { .. } => {
                    ("it is a package of its own", "cargo xtask build components")
                }
            };
            let version = lock.version_of(recipe, name)?.clone();
            let apart = || MissingComponent { version, why, help: help.to_owned() };
            missing.insert(name.clone(), absent.remove(name).unwrap_or_else(apart));
        }
        Ok(missing)
    }
}

impl BuildReport {
    fn show(&self, context: &Context) -> Result<()> {
        if context.json {
            return table::json(self);
        }
        let mut table = Table::new(["what", "size", "digest"]);
        let (blobs, files): (Vec<_>, Vec<_>) =
            self.files.iter().partition(|(path, _)| path.starts_with("oci/blobs/"));
        for (path, made) in files {
            table.row([path.clone(), table::bytes(made.size), made.digest[7..19].to_owned()]);
        }
        let size = blobs.iter().map(|(_, made)| made.size).sum();
        table.row([format!("oci/blobs/ ({} blobs)", blobs.len()), table::bytes(size), String::new()]);
        print!("{table}");
        components::show_missing(&self.missing);
        for name in &self.local {
            println!("LOCAL: {name} was handed over to this checkout; its package's version ends in +local");
        }
        components::show_overridden(&self.overridden);
        let (made, steps) = (self.made, self.steps);
        println!("{}: {made} of {steps} steps made, {:.2} s; {}", self.role, self.seconds, self.dist);
        Ok(())
    }
}
