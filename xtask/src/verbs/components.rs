//! `cargo xtask build components`: third-party programs as packages, for every component whose input is in the store.

use std::collections::BTreeMap;
use std::path::Path;

use builder::base::Result;
use builder::base::name::{ComponentName, LineName};
use builder::build::planner::components;
use builder::build::planner::supply::MissingComponent;
use builder::lock::Lock;
use builder::recipe::Recipe;
use builder::store::Store;
use serde::Serialize;

use crate::context::Context;
use crate::run::{publish, realise};
use crate::target::Jobs;
use crate::ui::table::{self, Table};

/// What a build of component packages tells.
#[derive(Serialize)]
struct ComponentsReport {
    dist: String,
    packages: BTreeMap<String, String>,
    missing: BTreeMap<ComponentName, MissingComponent>,
    overridden: BTreeMap<String, Overridden>,
}

/// A rule of the line that refuses, and why it does not here.
#[derive(Serialize)]
pub(crate) struct Overridden {
    because: String,
    reason: String,
}

/// Lists what the line takes although one of its own rules refuses it, by the rule's name.
pub(crate) fn overridden(recipe: &Recipe, lock: &Lock) -> BTreeMap<String, Overridden> {
    let all = recipe.line.overridden(&lock.versions(recipe));
    let one = |(rule, because, reason): (&str, &str, &str)| {
        (rule.to_owned(), Overridden { because: because.to_owned(), reason: reason.to_owned() })
    };
    all.into_iter().map(one).collect()
}

/// Prints that.
pub(crate) fn show_overridden(overridden: &BTreeMap<String, Overridden>) {
    for (rule, Overridden { because, reason }) in overridden {
        println!("OVERRIDDEN: rule {rule}: {because}. It is taken all the same: {reason}");
    }
}

/// Prints what is not included, why, and what to do about it.
pub(crate) fn show_missing(missing: &BTreeMap<ComponentName, MissingComponent>) {
    if missing.is_empty() {
        return;
    }
    let mut table = Table::new(["not included", "version", "because", "do"]);
    for (name, one) in missing {
        table.row([name.to_string(), one.version.to_string(), one.why.to_owned(), one.help.clone()]);
    }
    print!("{table}");
}

/// Packs what is here into `to` and says what is not.
pub(crate) fn build(context: &Context, store: &Store, line: &LineName, jobs: Jobs, to: &Path) -> Result<()> {
    let project = context.project()?;
    let recipe = project.recipe(line)?;
    let lock = project.lock(&recipe)?;
    let planned = components::plan(project.files()?, &recipe, &lock, store)?;
    if let Some(goal) = planned.goal {
        let built = realise(context, store, &planned.plan, jobs)?;
        publish(store, &planned.plan, goal, &built, to)?;
    }
    let packages = planned.packages.iter().map(|(name, version)| (name.to_string(), version.to_string()));
    let dist = to.display().to_string();
    let overridden = overridden(&recipe, &lock);
    ComponentsReport { dist, packages: packages.collect(), missing: planned.missing, overridden }
        .show(context)
}

impl ComponentsReport {
    fn show(&self, context: &Context) -> Result<()> {
        if context.json {
            return table::json(self);
        }
        let mut table = Table::new(["package", "version"]);
        for (name, version) in &self.packages {
            table.row([name.clone(), version.clone()]);
        }
        if !self.packages.is_empty() {
            print!("{table}");
        }
        show_missing(&self.missing);
        show_overridden(&self.overridden);
        println!(
            "components: {} of {} packed; {}",
            self.packages.len(),
            self.packages.len() + self.missing.len(),
            self.dist
        );
        Ok(())
    }
}
