//! `cargo xtask plan ROLE`: what a build would do, and `why STEP`: for what reason.

use builder::base::Result;
use builder::build::executor;
use builder::build::planner::bundle;
use builder::dist;
use builder::plan::why;
use builder::plan::{LabelledStep, Plan as Steps, StepId};
use builder::store::Store;
use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::target::Target;
use crate::ui::table::{self, Table};

/// Arguments of `plan`.
#[derive(Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    target: Target,
}

#[derive(Serialize)]
struct StepRow {
    label: String,
    id: String,
    state: &'static str,
}

impl Plan {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let store = Store::open(&context.store)?;
        for target in self.target.targets(context)? {
            let planned = bundle::plan(&target, &store)?;
            let (kept, missing) = executor::survey(&planned.plan, &context.runner(&store)?)?;
            let state = |id: StepId| match (kept.contains_key(&id), missing.contains(&id)) {
                (true, _) => "in the store",
                (_, true) => "to be made",
                _ => "not needed",
            };
            let row = |(id, step): (StepId, &LabelledStep)| StepRow {
                label: step.label.clone(),
                state: state(id),
                id: id.to_string(),
            };
            let rows: Vec<_> = planned.plan.iter().map(row).collect();
            if context.json {
                table::json(&rows)?;
                continue;
            }
            let mut table = Table::new(["step", "id", "state"]);
            for row in rows {
                table.row([row.label, row.id[..12].to_owned(), row.state.to_owned()]);
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
            let planned = bundle::plan(&target, &store)?;
            let last =
                dist::bundle::last_plan(&target.project.dist(&target.line)?.join(target.role.as_str()))?;
            let old = last.unwrap_or_else(Steps::new);
            let chain = why::why(&old, &planned.plan, &self.step, &store)?;
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
        }
        Ok(())
    }
}
