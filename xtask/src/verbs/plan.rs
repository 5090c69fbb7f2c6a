//! `cargo xtask plan ROLE`: what a build would do, and `why STEP`: for what reason.

use builder::base::Result;
use builder::build::executor;
use builder::build::intermediates::{self, IntermediateCount};
use builder::build::planner::{BuildTarget, bundle, system};
use builder::dist;
use builder::plan::why;
use builder::plan::{DiskFormat, Plan as Steps, StepId};
use builder::store::Store;
use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::disks;
use crate::target::Target;
use crate::ui::table::{self, Table};

/// Arguments of `plan`.
#[derive(Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    subject: Subject,
}

/// What of a role is built.
#[derive(Args)]
struct Subject {
    /// The disk, in place of the packages; Debian's packages must have been fetched.
    #[arg(long)]
    image: bool,
}

impl Subject {
    /// Returns the steps that a build would run.
    fn plan(&self, target: &BuildTarget, store: &Store) -> Result<Steps> {
        match self.image {
            true => Ok(system::plan(target, store)?.plan),
            false => Ok(bundle::plan(target, store)?.plan),
        }
    }

    /// Returns the steps of the last build.
    fn last_plan(&self, target: &BuildTarget, store: &Store) -> Result<Option<Steps>> {
        match self.image {
            true => dist::disk_image::last_plan(store, &disks::image_path(target, DiskFormat::Raw)?),
            false => dist::bundle::last_plan(&target.project.dist(&target.line)?.join(target.role.as_str())),
        }
    }
}

#[derive(Serialize)]
struct StepRow {
    label: String,
    id: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    intermediates: Option<IntermediateRow>,
}

/// What a step makes on its way and keeps for others.
#[derive(Serialize)]
struct IntermediateRow {
    kind: &'static str,
    /// How many the step needs; nobody knows before its inputs are made.
    needed: Option<usize>,
    /// How many of these are in the store.
    stored: Option<usize>,
}

impl From<IntermediateCount> for IntermediateRow {
    fn from(count: IntermediateCount) -> Self {
        let known = count.known;
        let (needed, stored) = (known.map(|known| known.needed), known.map(|known| known.stored));
        Self { kind: count.kind.name(), needed, stored }
    }
}

impl IntermediateRow {
    fn state(&self) -> String {
        match (self.stored, self.needed) {
            (Some(stored), Some(needed)) => format!("{stored} of {needed} in the store"),
            _ => "known when its inputs are made".to_owned(),
        }
    }
}

impl Plan {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let store = Store::open(&context.store)?;
        for target in self.target.targets(context)? {
            let plan = self.subject.plan(&target, &store)?;
            let (kept, missing) = executor::survey(&plan, &context.runner(&store)?)?;
            let state = |id: StepId| match (kept.contains_key(&id), missing.contains(&id)) {
                (true, _) => "in the store",
                (_, true) => "to be made",
                _ => "not needed",
            };
            let mut rows = Vec::new();
            for (id, planned) in plan.iter() {
                let intermediates = intermediates::count(&store, &planned.step)?.map(IntermediateRow::from);
                let label = planned.label.clone();
                rows.push(StepRow { label, id: id.to_string(), state: state(id), intermediates });
            }
            if context.json {
                table::json(&rows)?;
                continue;
            }
            let mut table = Table::new(["step", "id", "state"]);
            for row in rows {
                table.row([row.label, row.id[..12].to_owned(), row.state.to_owned()]);
                if let Some(row) = row.intermediates {
                    table.row([format!("  {}", row.kind), String::new(), row.state()]);
                }
            }
            print!("{table}");
        }
        Ok(())
    }
}

/// Arguments of `why`.
#[derive(Args)]
pub(crate) struct Why {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    subject: Subject,
    /// A step by its label or the first digits of its id; see `plan`.
    step: String,
}

#[derive(Serialize)]
struct Link {
    step: String,
    key: String,
    old: Option<String>,
    new: Option<String>,
}

impl Why {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let store = Store::open(&context.store)?;
        for target in self.target.targets(context)? {
            let plan = self.subject.plan(&target, &store)?;
            let old = self.subject.last_plan(&target, &store)?.unwrap_or_else(Steps::new);
            let chain = why::why(&old, &plan, &self.step, &store)?;
            if context.json {
                let link = |c: why::StepChange| Link { step: c.step, key: c.key, old: c.old, new: c.new };
                table::json(&chain.into_iter().map(link).collect::<Vec<_>>())?;
                continue;
            }
            for change in &chain {
                println!("{change}");
            }
            if chain.is_empty() {
                println!("{}: nothing changed since the last build", self.step);
            }
            let (_, planned) = plan.find(&self.step)?;
            if let Some(row) = intermediates::count(&store, &planned.step)?.map(IntermediateRow::from) {
                println!("{}, {}: {}", planned.label, row.kind, row.state());
            }
        }
        Ok(())
    }
}
