//! `cargo xtask build ROLE`: the role's packages and image in `dist/<role>/`.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Instant;

use builder::base::name::{LineName, RoleName};
use builder::base::tree::Kind;
use builder::base::{Fault, Result};
use builder::build::executor::{self, Built, Way};
use builder::build::planner::Order;
use builder::build::planner::bundle::{self, Planned};
use builder::dist;
use builder::dist::repository::COMPONENTS;
use builder::host::checkout::Project;
use builder::lock::From;
use builder::plan::{Output, Plan, StepId};
use builder::recipe::Source;
use builder::store::{Spent, Store};
use clap::Args;
use serde::Serialize;

use crate::components::{self, Lack, Overridden};
use crate::context::Context;
use crate::table::{self, Table};

/// Which role of which line: what the verbs that plan have in common.
#[derive(Args, Clone)]
pub(crate) struct Target {
    /// `master`, `node`, or `all` roles; `build` and `check` take `components` too, which `all` includes.
    pub(crate) role: String,
    /// The line [default: the site's].
    #[arg(long)]
    pub(crate) line: Option<LineName>,
}

impl Target {
    /// Whether packages of components are meant too.
    pub(crate) fn has_components(&self) -> bool {
        matches!(self.role.as_str(), COMPONENTS | "all")
    }

    /// The line that was named, or the site's.
    pub(crate) fn line(&self, project: &Project) -> Result<LineName> {
        self.line.clone().map_or_else(|| project.default_line(), Ok)
    }

    /// One order a role.
    pub(crate) fn orders(&self, context: &Context) -> Result<Vec<Order>> {
        let project = Project::at(&context.root);
        let line = self.line(&project)?;
        let recipe = project.recipe(&line)?;
        let roles: Vec<RoleName> = match self.role.as_str() {
            "all" => recipe.roles.keys().cloned().collect(),
            one => vec![recipe.role(one)?.name.clone()],
        };
        let order = |role| Order {
            project: project.clone(),
            line: line.clone(),
            role,
            toolchain: context.toolchain(),
        };
        Ok(roles.into_iter().map(order).collect())
    }
}

/// Arguments of `build`.
#[derive(Args)]
pub(crate) struct Build {
    #[command(flatten)]
    target: Target,
    /// How many steps at once [default: one a core].
    #[arg(long)]
    jobs: Option<NonZero<usize>>,
    /// Where bundles go [default: dist in the checkout, for another line than the site's dist/LINE].
    #[arg(long, value_name = "DIR")]
    dist: Option<PathBuf>,
}

/// What a build tells.
#[derive(Serialize)]
struct Summary {
    role: String,
    dist: String,
    seconds: f64,
    steps: usize,
    made: usize,
    files: BTreeMap<String, Made>,
    missing: BTreeMap<String, Lack>,
    local: Vec<String>,
    overridden: BTreeMap<String, Overridden>,
    /// Bytes that the store has hashed and written for this process so far.
    spent: Spent,
    /// The most memory that this process has had, in bytes.
    peak_memory: u64,
}

/// One file of a bundle.
#[derive(Serialize)]
struct Made {
    size: u64,
    digest: String,
}

impl Build {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let store = Store::open(&context.store)?;
        let project = Project::at(&context.root);
        let line = self.target.line(&project)?;
        let dist = self.dist.clone().map_or_else(|| project.dist(&line), Ok)?;
        if self.target.role != COMPONENTS {
            self.roles(context, &store, &dist)?;
        }
        if self.target.has_components() {
            components::build(context, &store, &line, workers(self.jobs), &dist.join(COMPONENTS))?;
        }
        Ok(())
    }

    fn roles(&self, context: &Context, store: &Store, dist: &Path) -> Result<()> {
        for order in self.target.orders(context)? {
            let start = Instant::now();
            let planned = bundle::plan(&order, store)?;
            let built = realise(context, store, &planned.plan, self.jobs)?;
            let to = dist.join(order.role.as_str());
            let output = publish(store, &planned.plan, planned.goal, &built, &to)?;
            let bundle = Bundle { order: &order, planned: &planned, built: &built, output, to: &to };
            bundle.summary(store, start.elapsed().as_secs_f64())?.show(context)?;
        }
        Ok(())
    }
}

/// Realises a plan with the checkout's workshop.
pub(crate) fn realise(
    context: &Context,
    store: &Store,
    plan: &Plan,
    jobs: Option<NonZero<usize>>,
) -> Result<Built> {
    executor::build(plan, &context.shop(store), workers(jobs))
}

/// How many steps at once: as told, or one a core.
fn workers(jobs: Option<NonZero<usize>>) -> NonZero<usize> {
    jobs.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZero::<usize>::MIN)
}

/// Puts what a build's goal became at `to`, and keeps all that it was made of from being collected.
pub(crate) fn publish(store: &Store, plan: &Plan, goal: StepId, built: &Built, to: &Path) -> Result<Output> {
    let output = built.get(&goal).ok_or_else(|| Fault::bug("the goal was not built"))?.0;
    dist::bundle::export(store, &output, plan, to)?;
    let kept: Vec<Output> = built.values().map(|(output, _)| *output).collect();
    let owner = to.canonicalize().map_err(|e| Fault::io("find", to, e))?;
    store.add_root(&owner, &kept)?;
    Ok(output)
}

/// A bundle that was built and put in its place.
struct Bundle<'a> {
    order: &'a Order,
    planned: &'a Planned,
    built: &'a Built,
    output: Output,
    to: &'a Path,
}

impl Bundle<'_> {
    fn summary(&self, store: &Store, seconds: f64) -> Result<Summary> {
        let mut files = BTreeMap::new();
        for (path, node) in store.tree(&self.output.digest())?.iter() {
            if let Kind::File { content, size } = &node.kind {
                files.insert(path.to_string(), Made { size: *size, digest: content.to_string() });
            }
        }
        let local = self.planned.lock.inputs.values();
        let local = local.filter(|input| matches!(input.from, From::Added { .. }));
        Ok(Summary {
            role: self.order.role.to_string(),
            dist: self.to.display().to_string(),
            seconds,
            steps: self.planned.plan.len(),
            made: self.built.values().filter(|(_, way)| *way == Way::Made).count(),
            files,
            missing: self.missing(store)?,
            local: local.map(|input| format!("{} {}", input.component, input.version)).collect(),
            overridden: components::overridden(&self.planned.recipe, &self.planned.lock),
            spent: store.spent(),
            peak_memory: peak_memory(),
        })
    }

    /// The role's components. A bundle depends on their packages and holds none of them.
    fn missing(&self, store: &Store) -> Result<BTreeMap<String, Lack>> {
        let Planned { files, recipe, lock, .. } = self.planned;
        let mut absent: BTreeMap<_, _> =
            builder::build::planner::components::plan(files, recipe, lock, store)?
                .missing
                .into_iter()
                .map(|missing| (missing.component.clone(), Lack::from(missing)))
                .collect();
        let mut missing = BTreeMap::new();
        for name in &recipe.role(self.order.role.as_str())?.components {
            let (why, mend) = match recipe.source(name)? {
                Source::Apt { .. } => ("it is Debian's own package", "nothing: apt brings it"),
                Source::Image { .. } => ("it is an image", "nothing: the node pulls it by its digest"),
                Source::Url { .. } | Source::Compiled { .. } | Source::Provided { .. } => {
                    ("it is a package of its own", "cargo xtask build components")
                }
            };
            let version = lock.version_of(recipe, name)?.to_string();
            let apart = || Lack { version, why, mend: mend.to_owned() };
            missing.insert(name.to_string(), absent.remove(name).unwrap_or_else(apart));
        }
        Ok(missing)
    }
}

/// The most memory that this process has had, in bytes (VmHWM of proc_pid_status(5)); 0 where the kernel
/// does not say.
pub(crate) fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

impl Summary {
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
