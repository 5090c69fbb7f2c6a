//! `cargo xtask verify`: reads the whole store and mends it.

use std::collections::BTreeMap;

use builder::base::{Fault, Result};
use builder::fetch::locked;
use builder::host::checkout::Project;
use builder::plan::StepId;
use builder::store::{Damage, Store};
use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::ui::table;

/// Arguments of `verify`.
#[derive(Args)]
pub(crate) struct Verify {}

#[derive(Serialize)]
struct VerifyReport<'a> {
    blobs: u64,
    bytes: u64,
    damaged: Vec<Damaged<'a>>,
}

#[derive(Serialize)]
struct Damaged<'a> {
    #[serde(flatten)]
    damage: &'a Damage,
    inputs: Vec<&'a str>,
}

impl Verify {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let verified = Store::open_exclusive(&context.store)?.verify()?;
        let names = context.project().map(names).unwrap_or_default();
        let damaged = verified.damaged.iter().map(|damage| {
            let inputs = damage.steps.iter().filter_map(|step| names.get(step).map(String::as_str)).collect();
            Damaged { damage, inputs }
        });
        let report =
            VerifyReport { blobs: verified.blobs, bytes: verified.bytes, damaged: damaged.collect() };
        if context.json {
            table::json(&report)?
        } else {
            print(&report)
        }
        match report.damaged.len() {
            0 => Ok(()),
            count => {
                Err(Fault::integrity(format!("{count} files of the store were damaged, and are removed"))
                    .help("run `cargo xtask fetch` and build again: both make anew what is missing"))
            }
        }
    }
}

/// The inputs' names by their steps. Without a lock that can be read there are none, and the store is
/// verified all the same.
fn names(project: &Project) -> BTreeMap<StepId, String> {
    let lock = project.default_line().and_then(|line| project.last_lock(&line)).ok().flatten();
    lock.and_then(|lock| locked::names(&lock).ok()).unwrap_or_default()
}

fn print(report: &VerifyReport) {
    for Damaged { damage, inputs } in &report.damaged {
        println!("{}: {}", damage.path.display(), damage.what);
        inputs.iter().for_each(|input| println!("  belongs to {input}"));
        damage.steps.iter().for_each(|step| println!("  made by step {step}, which will run again"));
        damage.owners.iter().for_each(|owner| println!("  needed by {}", owner.display()));
    }
    println!(
        "{} files ({}) read, {} damaged or missing",
        report.blobs,
        table::bytes(report.bytes),
        report.damaged.len()
    );
}
