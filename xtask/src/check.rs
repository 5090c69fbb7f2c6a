//! `cargo xtask check ROLE`: builds again, into an empty store and under other conditions, and compares.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use builder::base::{Digest, Fault, Result};
use builder::check::{self, Side};
use builder::dist::{self, Order};
use builder::plan::Plan;
use builder::store::Store;
use clap::Args;
use serde::Serialize;

use crate::build::{self, Target};
use crate::context::Context;
use crate::table;

/// Arguments of `check`.
#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    target: Target,
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
const CONDITIONS: &str = r#"umask 077; printf 'umask %s\nuser %s:%s\ntime zone %s\nlocale %s\nfolder %s\n' \
"$(umask)" "$(id -u)" "$(id -g)" "$TZ" "$LC_ALL" "$HALE_ROOT" > "$1"; shift; exec "$@""#;

/// Other ids, in a user namespace of their own (unshare(1)).
const OTHER: [&str; 6] = ["--user", "--map-user=1111", "--map-group=2222", "--", "sh", "-c"];

impl Check {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let store = Store::open(&context.store)?;
        for order in self.target.orders(context)? {
            let planned = dist::plan(&order, &store)?;
            build::realise(context, &store, &planned, None)?;
            let verdict = again(context, &order, &planned.plan, &store)?;
            verdict.show(context)?;
            if let Some(parting) = verdict.parting {
                return Err(Fault::integrity("two builds of one checkout differ").because(parting));
            }
        }
        Ok(())
    }
}

fn again(context: &Context, order: &Order, plan: &Plan, store: &Store) -> Result<Verdict> {
    let scratch = tempfile::Builder::new().prefix("hale check \u{fc} ").tempdir();
    let scratch = scratch.map_err(|e| Fault::machine("no scratch directory").because(e))?;
    let checkout = scratch.path().join("a path with spaces");
    copy(&context.root, &checkout)?;
    let (other, proof) = (scratch.path().join("store"), scratch.path().join("conditions"));
    let program =
        std::env::current_exe().map_err(|e| Fault::machine("cannot find this program").because(e))?;
    let mut child = Command::new("unshare");
    child.args(OTHER).args([CONDITIONS, "sh"]).arg(&proof).arg(&program);
    child.arg("--store").arg(&other).args([
        "build",
        order.role.as_str(),
        "--jobs",
        "1",
        "--line",
        order.line.as_str(),
    ]);
    child.env("HALE_ROOT", &checkout).env("TZ", "Pacific/Kiritimati").env("LC_ALL", "tr_TR.UTF-8");
    child.env("SOURCE_DATE_EPOCH", "1").current_dir("/");
    let output =
        child.output().map_err(|e| Fault::io("run", "unshare", e).mend("apt-get install util-linux"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Fault::machine("the second build failed").because(said));
    }
    let conditions = fs::read_to_string(&proof).map_err(|e| Fault::io("read", &proof, e))?;
    let second = dist::last_plan(&checkout.join("dist").join(order.role.as_str()))?;
    let second = second.ok_or_else(|| Fault::bug("the second build left no plan"))?;
    let other = Store::open(&other)?;
    let compared = check::compare(&Side { plan, store }, &Side { plan: &second, store: &other })?;
    let (agree, parting) =
        compared.map_or_else(|parting| (0, Some(parting.to_string())), |agree| (agree, None));
    let role = order.role.to_string();
    Ok(Verdict { role, conditions: conditions.lines().map(str::to_owned).collect(), agree, parting })
}

/// Copies what git would commit, the files of each folder in another order than they were made in.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let list = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(from)
        .output()
        .map_err(|e| Fault::io("run", "git", e))?;
    let names = String::from_utf8(list.stdout).map_err(|_| Fault::user("a file name that is not UTF-8"))?;
    let mut names: Vec<&str> = names.split_terminator('\0').collect();
    // What the checkout was handed over is not git's, and belongs to the build.
    let local: Vec<_> = local_locks(from)?;
    names.extend(local.iter().map(String::as_str));
    names.sort_by_key(|name| Digest::of(name));
    for name in names {
        let (source, target) = (from.join(name), to.join(name));
        let Ok(metadata) = fs::symlink_metadata(&source) else { continue };
        let parent = target.parent().unwrap_or(to);
        fs::create_dir_all(parent).map_err(|e| Fault::io("make", parent, e))?;
        let copied = if metadata.is_symlink() {
            fs::read_link(&source).and_then(|link| std::os::unix::fs::symlink(link, &target))
        } else {
            fs::copy(&source, &target).map(drop)
        };
        copied.map_err(|e| Fault::io("copy", &source, e))?;
    }
    Ok(())
}

fn local_locks(root: &Path) -> Result<Vec<String>> {
    let folder = PathBuf::from("recipes/lines");
    let entries = fs::read_dir(root.join(&folder)).map_err(|e| Fault::io("list", root.join(&folder), e))?;
    let names = entries.flatten().map(|entry| folder.join(entry.file_name()).to_string_lossy().into_owned());
    Ok(names.filter(|name| name.ends_with(".local.lock")).collect())
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
        println!("  one job, an empty store, the checkout's files made in another order");
        if self.parting.is_none() {
            println!("{} outputs, all the same", self.agree);
        }
        Ok(())
    }
}
