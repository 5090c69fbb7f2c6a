//! Plans made real, and what became of them put where people look.

use std::path::Path;

use builder::base::{Fault, Result};
use builder::build::executor::{self, BuildResults};
use builder::dist;
use builder::plan::{Output, Plan, StepId};
use builder::store::Store;

use crate::context::Context;
use crate::target::Jobs;

/// Realises a plan by running its steps for the checkout.
pub(crate) fn realise(context: &Context, store: &Store, plan: &Plan, jobs: Jobs) -> Result<BuildResults> {
    executor::build(plan, &context.runner(store)?, jobs.count())
}

/// Puts what a build's goal became at `to`, and keeps all that it was made of from being collected.
pub(crate) fn publish(
    store: &Store,
    plan: &Plan,
    goal: StepId,
    built: &BuildResults,
    to: &Path,
) -> Result<Output> {
    let output = built.get(&goal).ok_or_else(|| Fault::bug("the goal was not built"))?.0;
    dist::bundle::export(store, &output, plan, to)?;
    let kept: Vec<Output> = built.values().map(|(output, _)| *output).collect();
    let owner = to.canonicalize().map_err(|e| Fault::io("find", to, e))?;
    store.add_root(&owner, &kept)?;
    Ok(output)
}

/// The most memory that this process has had, in bytes (VmHWM of proc_pid_status(5)); 0 where the kernel
/// does not say.
pub(crate) fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}
