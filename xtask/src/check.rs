//! `cargo xtask check ROLE`: builds again, into an empty store and under other conditions, and compares.

use std::fs;
use std::path::Path;
use std::process::Command;

use builder::base::{Fault, Result};
use builder::check::{self, Side};
use builder::dist::{self, Order};
use builder::plan::{Output, Plan, Step};
use builder::project::Project;
use builder::store::Store;
use builder::system;
use builder::tree::Contents;
use clap::Args;
use serde::Serialize;

use crate::build::{self, Target};
use crate::checkout;
use crate::context::Context;
use crate::table;

/// Arguments of `check`.
#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    target: Target,
    /// Build the disk again too, from the root up, of what can be installed.
    #[arg(long)]
    image: bool,
}

/// What a check tells.
#[derive(Serialize)]
struct Verdict {
    role: String,
    /// What was other in the second build, as it saw it itself.
    conditions: Vec<String>,
    /// Outputs that are the same.
    agree: usize,
    /// The first step that is not.
    parting: Option<String>,
}

/// The second build's surroundings. Each line that it prints proves a condition.
const CONDITIONS: &str = r#"umask 077
printf 'umask %s\nuser %s:%s\nhost %s\ntime zone %s\nlocale %s\nfolder %s\n' "$(umask)" "$(id -u)" "$(id -g)" \
"$(uname -n)" "$TZ" "$LC_ALL" "$HALE_ROOT" > "$1"; shift; exec "$@""#;

/// Another host name, and then other ids, in namespaces of their own (unshare(1)): only a namespace's root
/// may name the host, so there are two.
const OTHER: [&str; 6] = ["--user", "--map-root-user", "--uts", "--", "sh", "-c"];
const HOST: &str = r#"echo elsewhere > /proc/sys/kernel/hostname &&
exec unshare --user --map-user=1111 --map-group=2222 -- sh -c "$@""#;

impl Check {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let store = Store::open(&context.store)?;
        for order in self.target.orders(context)? {
            let plan = self.plan(&order, &store)?;
            build::realise(context, &store, &plan, None)?;
            let verdict = self.again(context, &order, &plan, &store)?;
            verdict.show(context)?;
            if let Some(parting) = verdict.parting {
                return Err(Fault::integrity("two builds of one checkout differ").because(parting));
            }
        }
        Ok(())
    }

    fn plan(&self, order: &Order, store: &Store) -> Result<Plan> {
        Ok(if self.image { system::plan(order, store)?.plan } else { dist::plan(order, store)?.plan })
    }

    /// The command that builds again. A disk's root is made in a sandbox, which needs the ids of who may
    /// have one: it is built again by the same user.
    fn second(&self, order: &Order, store: &Path, proof: &Path) -> Result<Command> {
        let program =
            std::env::current_exe().map_err(|e| Fault::machine("cannot find this program").because(e))?;
        let (mut child, verb) = match self.image {
            true => (Command::new("sh"), &["image", "--without-components"][..]),
            false => (Command::new("unshare"), &["build"][..]),
        };
        match self.image {
            true => child.args(["-c", CONDITIONS, "sh"]),
            false => child.args(OTHER).args([HOST, "sh", CONDITIONS, "sh"]),
        };
        child.arg(proof).arg(program).arg("--store").arg(store).args(verb);
        child.args([order.role.as_str(), "--jobs", "1", "--line", order.line.as_str()]);
        child.env("TZ", "Pacific/Kiritimati").env("LC_ALL", "tr_TR.UTF-8");
        child.env("SOURCE_DATE_EPOCH", "1").current_dir("/");
        Ok(child)
    }

    fn again(&self, context: &Context, order: &Order, plan: &Plan, store: &Store) -> Result<Verdict> {
        let scratch = tempfile::Builder::new().prefix("hale check \u{fc} ").tempdir();
        let scratch = scratch.map_err(|e| Fault::machine("no scratch directory").because(e))?;
        let copy = scratch.path().join("a path with spaces");
        checkout::copy(&context.root, &copy)?;
        let (other, proof) = (scratch.path().join("store"), scratch.path().join("conditions"));
        hand_over_inputs(plan, store, &Store::open(&other)?)?;
        let output = self.second(order, &other, &proof)?.env("HALE_ROOT", &copy).output();
        let output = output.map_err(|e| Fault::io("run", "unshare", e).mend("apt-get install util-linux"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Fault::machine("the second build failed").because(said));
        }
        let conditions = fs::read_to_string(&proof).map_err(|e| Fault::io("read", &proof, e))?;
        let other = Store::open(&other)?;
        let second = self.plan(&Order { project: Project::at(&copy), ..order.clone() }, &other)?;
        let compared = check::compare(&Side { plan, store }, &Side { plan: &second, store: &other })?;
        let (agree, parting) =
            compared.map_or_else(|parting| (0, Some(parting.to_string())), |agree| (agree, None));
        let role = order.role.to_string();
        Ok(Verdict { role, conditions: conditions.lines().map(str::to_owned).collect(), agree, parting })
    }
}

/// Inputs are known by their checksums; a second build that fetched them again would prove nothing more.
pub(crate) fn hand_over_inputs(plan: &Plan, from: &Store, to: &Store) -> Result<()> {
    for (id, planned) in plan.iter() {
        if let (Step::Input { .. }, Some(output @ Output::Blob { content, .. })) =
            (&planned.step, from.output(&id)?)
        {
            to.put(from.open(&content)?)?;
            to.record(&id, &output)?;
        }
    }
    Ok(())
}

impl Verdict {
    fn show(&self, context: &Context) -> Result<()> {
        if context.json {
            return table::json(self);
        }
        println!("{}: built again, with", self.role);
        for condition in &self.conditions {
            println!("  {condition}");
        }
        println!("  one job, a store of inputs alone, the checkout's files made in another order");
        if self.parting.is_none() {
            println!("{} outputs, all the same", self.agree);
        }
        Ok(())
    }
}
