//! `cargo xtask repo`: a signed apt repository in `dist/repo`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use builder::base::Result;
use builder::base::name::SuiteName;
use builder::build::planner::BuildTarget;
use builder::build::planner::bundle;
use builder::build::planner::components;
use builder::dist::repository::{Bundles, gather, publish};
use builder::host::signing_key;
use builder::lock::Lock;
use builder::pack::package::repository::Suite;
use builder::plan::{Output, StepId};
use builder::recipe::Recipe;
use builder::store::Store;
use clap::Args;

use crate::context::Context;
use crate::target::LineOption;
use crate::ui::table;
use crate::verbs::key;

/// Arguments of `repo`.
#[derive(Args)]
pub(crate) struct Repo {
    #[command(flatten)]
    line: LineOption,
    /// Where nodes will find the repository, for hale.sources.
    #[arg(long, default_value = "file:/srv/hale")]
    uri: String,
    /// Where bundles are, and the repository goes [default: dist in the checkout, for another line than the
    /// site's dist/LINE].
    #[arg(long, value_name = "DIR")]
    dist: Option<PathBuf>,
    /// The signing key [default: hale/repository-key.asc in the user's configuration].
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// What the plans of this checkout have made.
fn bundles(context: &Context, recipe: &Recipe, lock: &Lock, store: &Store) -> Result<Bundles> {
    let project = context.project()?;
    let made = |step: StepId| match store.output(&step)? {
        Some(Output::Tree { tree }) => store.tree(&tree).map(Some),
        _ => Ok(None),
    };
    let mut bundles = Bundles::default();
    for role in recipe.roles.keys() {
        let target = BuildTarget {
            project: project.clone(),
            line: recipe.line.name.clone(),
            role: role.clone(),
            toolchain: context.toolchain(),
        };
        bundles.roles.extend(made(bundle::plan(&target, store)?.goal)?);
    }
    if let Some(goal) = components::plan(project.files()?, recipe, lock, store)?.goal {
        bundles.components = made(goal)?;
    }
    Ok(bundles)
}

impl Repo {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let key = signing_key::open(&key::place(self.key, context)?)?;
        let project = context.project()?;
        let line = self.line.of(project)?;
        let recipe = project.recipe(&line)?;
        let lock = project.lock(&recipe)?;
        let store = Store::open(&context.store)?;
        let dist = self.dist.map_or_else(|| project.dist(&line), Ok)?;
        let roles: BTreeSet<_> = recipe.roles.keys().cloned().collect();
        let gathered = gather(&store, &bundles(context, &recipe, &lock, &store)?, &roles, &lock)?;
        gathered.check_dist(&dist, &roles)?;
        let suite = Suite {
            name: SuiteName::new(format!("hale-{line}"))?,
            description: format!("Nodes of line {line}"),
            epoch: lock.epoch,
            arches: BTreeSet::from([lock.arch]),
            uri: self.uri,
        };
        let to = dist.join("repo");
        let missing = gathered.missing.clone();
        let tree = publish(&store, &suite, gathered, &key, &to)?;
        let debs: Vec<_> =
            tree.iter().map(|(path, _)| path.as_str()).filter(|path| path.ends_with(".deb")).collect();
        if context.json {
            return table::json(&serde_json::json!({
                "repository": to, "suite": suite.name, "fingerprint": key.fingerprint().as_str(),
                "packages": debs, "missing": missing,
            }));
        }
        for deb in &debs {
            println!("  {}", deb.rsplit('/').next().unwrap_or(deb));
        }
        for package in &missing {
            println!("  not here, so not in it: {package}");
        }
        println!("{} packages in {}, suite {}", debs.len(), to.display(), suite.name);
        println!("signed by {}; nodes take {}/hale.sources", key.fingerprint(), to.display());
        if !missing.is_empty() {
            println!("cargo xtask fetch, then cargo xtask build components, bring what is missing");
        }
        Ok(())
    }
}
