//! `cargo xtask build ROLE`: the role's packages and image in `dist/<role>/`.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Instant;

use builder::base::name::{LineName, RoleName};
use builder::base::{Fault, Result};
use builder::build::{self, Built, Way};
use builder::dist::{self, Order, Planned};
use builder::lock::From;
use builder::plan::Output;
use builder::project::Project;
use builder::store::Store;
use builder::tree::Kind;
use builder::workshop::Shop;
use clap::Args;
use serde::Serialize;

use crate::components;
use crate::context::Context;
use crate::table::{self, Table};

/// Which role of which line: what the verbs that plan have in common.
#[derive(Args, Clone)]
pub(crate) struct Target {
    /// `master`, `node`, or `all` roles; `build` takes `components` too.
    pub(crate) role: String,
    /// The line [default: the newest].
    #[arg(long)]
    pub(crate) line: Option<LineName>,
}

impl Target {
    /// The line that was named, or the newest.
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
        let order = |role| Order { project: project.clone(), line: line.clone(), role };
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
    /// Where bundles go [default: dist in the checkout].
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
    missing: BTreeMap<String, String>,
    local: Vec<String>,
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
        let dist = self.dist.clone().unwrap_or_else(|| context.root.join("dist"));
        if self.target.role == "components" {
            let line = self.target.line(&Project::at(&context.root))?;
            return components::build(context, &store, &line, workers(self.jobs), &dist.join("components"));
        }
        for order in self.target.orders(context)? {
            let start = Instant::now();
            let planned = dist::plan(&order, &store)?;
            let built = realise(context, &store, &planned, self.jobs)?;
            let to = dist.join(order.role.as_str());
            let output = built.get(&planned.goal).ok_or_else(|| Fault::bug("the goal was not built"))?.0;
            dist::export(&store, &output, &planned.plan, &to)?;
            let kept: Vec<Output> = built.values().map(|(output, _)| *output).collect();
            store.add_root(&absolute(&to)?, &kept)?;
            summary(&order, &planned, &built, &store, &output, &to, start.elapsed().as_secs_f64())?
                .show(context)?;
        }
        Ok(())
    }
}

/// Realises a plan with the checkout's workshop.
pub(crate) fn realise(
    context: &Context,
    store: &Store,
    planned: &Planned,
    jobs: Option<NonZero<usize>>,
) -> Result<Built> {
    build::build(&planned.plan, &Shop { store, checkout: context.root.clone() }, workers(jobs))
}

/// How many steps at once: as told, or one a core.
fn workers(jobs: Option<NonZero<usize>>) -> NonZero<usize> {
    jobs.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZero::<usize>::MIN)
}

fn absolute(path: &std::path::Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|e| Fault::io("find", path, e))
}

fn summary(
    order: &Order,
    planned: &Planned,
    built: &Built,
    store: &Store,
    output: &Output,
    to: &std::path::Path,
    seconds: f64,
) -> Result<Summary> {
    let mut files = BTreeMap::new();
    for (path, node) in store.tree(&output.digest())?.iter() {
        if let Kind::File { content, size } = &node.kind {
            files.insert(path.to_string(), Made { size: *size, digest: content.to_string() });
        }
    }
    let (mut missing, mut local) = (BTreeMap::new(), Vec::new());
    for (name, input) in &planned.lock.inputs {
        match &input.from {
            From::Provided => {
                let mend = format!("cargo xtask input add {name} PATH --version {}", input.version);
                missing.insert(name.to_string(), mend);
            }
            From::Added { .. } => local.push(format!("{name} {}", input.version)),
            From::Url { .. } | From::Image { .. } => {}
        }
    }
    let made = built.values().filter(|(_, way)| *way == Way::Made).count();
    let (role, dist, steps) = (order.role.to_string(), to.display().to_string(), planned.plan.len());
    Ok(Summary { role, dist, seconds, steps, made, files, missing, local })
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
        for (name, mend) in &self.missing {
            println!("not included: {name}, which nobody publishes; {mend}");
        }
        for name in &self.local {
            println!("LOCAL: {name} was handed over to this checkout; its package's version ends in +local");
        }
        let (made, steps) = (self.made, self.steps);
        println!("{}: {made} of {steps} steps made, {:.2} s; {}", self.role, self.seconds, self.dist);
        Ok(())
    }
}
