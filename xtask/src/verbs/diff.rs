//! `cargo xtask diff A B`: what differs between two bundles.

use std::path::PathBuf;

use builder::base::Result;
use builder::dist::compare::bundles;
use clap::Args;

use crate::context::Context;
use crate::ui::table;

/// Arguments of `diff`.
#[derive(Args)]
pub(crate) struct Diff {
    /// The earlier bundle: a folder such as dist/master.
    old: PathBuf,
    /// The later one.
    new: PathBuf,
}

impl Diff {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let changes = bundles::diff(&self.old, &self.new)?;
        if context.json {
            return table::json(&changes);
        }
        for change in &changes {
            match (&change.old, &change.new) {
                (Some(old), Some(new)) => println!("{}: {old} -> {new}", change.what),
                (None, Some(new)) => println!("{}: new, {new}", change.what),
                (old, None) => println!("{}: gone, {}", change.what, old.as_deref().unwrap_or_default()),
            }
            for line in &change.lines {
                println!("    {line}");
            }
        }
        println!("{} differences", changes.len());
        Ok(())
    }
}
