//! `cargo xtask gc`: frees what nothing needs any more.

use builder::base::Result;
use builder::store::Store;
use clap::Args;

use crate::context::Context;
use crate::ui::table;

/// Arguments of `gc`.
#[derive(Args)]
pub(crate) struct Gc {
    /// Only say what would go.
    #[arg(long)]
    dry_run: bool,
}

impl Gc {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let collected = Store::open_exclusive(&context.store)?.gc(self.dry_run)?;
        if context.json {
            return table::json(&collected);
        }
        for owner in &collected.gone {
            println!("{} is gone, and what it alone needed", owner.display());
        }
        let verb = if self.dry_run { "would be removed" } else { "removed" };
        let (removed, kept) = (table::bytes(collected.removed_bytes), table::bytes(collected.kept_bytes));
        println!(
            "{} files ({removed}), {} step records and {} laid-out trees {verb}",
            collected.removed, collected.steps, collected.trees
        );
        println!("{} files ({kept}) kept", collected.kept);
        Ok(())
    }
}
