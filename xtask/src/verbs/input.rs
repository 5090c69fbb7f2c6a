//! `cargo xtask input add|list|remove`: components that the operator hands over.

use std::path::PathBuf;

use builder::base::name::{ComponentName, LineName};
use builder::base::{Fault, Result};
use builder::fetch::provide;
use builder::formats::debian::version::Version;
use builder::lock::{LockedInput, LockedOrigin};
use builder::store::Store;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::context::Context;
use crate::target::LineOption;
use crate::ui::table::{self, Table};

/// Arguments of `input`.
#[derive(Args)]
pub(crate) struct Input {
    #[command(flatten)]
    line: LineOption,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Use a file of yours for a component, in this checkout alone.
    Add {
        /// The component: `cri-o`.
        name: ComponentName,
        /// The program, archive or package.
        path: PathBuf,
        /// Which version it is.
        #[arg(long)]
        version: String,
    },
    /// List what was handed over.
    List,
    /// Go back to what is pinned.
    Remove {
        /// The component.
        name: ComponentName,
    },
}

/// One thing that was handed over.
#[derive(Serialize)]
struct InputRow {
    component: String,
    version: String,
    file: String,
    size: u64,
    digest: String,
    in_store: bool,
}

impl Input {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let project = context.project()?;
        let line = self.line.of(project)?;
        let store = Store::open(&context.store)?;
        match self.what {
            What::Add { name, path, version } => {
                let version = Version::new(&version)?;
                provide::add(project, &store, &line, &name, &version, &path)?;
                eprintln!(
                    "LOCAL: this checkout now builds with your {name}; `cargo xtask input remove {name}` undoes it"
                );
            }
            What::List => {}
            What::Remove { name } => provide::remove(project, &store, &line, &name)?,
        }
        let local = project.local(&line)?;
        let rows =
            local.inputs.values().map(|input| row(&store, input)).collect::<Result<Vec<InputRow>>>()?;
        show(context, &line, &rows)
    }
}

fn row(store: &Store, input: &LockedInput) -> Result<InputRow> {
    let LockedOrigin::Supplied { file, digest, size } = &input.from else {
        return Err(Fault::bug(format!("`{}` was not handed over", input.component)));
    };
    Ok(InputRow {
        component: input.component.to_string(),
        version: input.version.to_string(),
        file: file.clone(),
        size: *size,
        digest: digest.to_string(),
        in_store: store.size_of(digest)? == Some(*size),
    })
}

fn show(context: &Context, line: &LineName, rows: &[InputRow]) -> Result<()> {
    if context.json {
        return table::json(&rows);
    }
    if rows.is_empty() {
        println!("{line}: nothing was handed over to this checkout");
        return Ok(());
    }
    let mut table = Table::new(["component", "version", "file", "size", "digest", "in the store"]);
    for row in rows {
        let stored = if row.in_store { "yes" } else { "NO: add it again" };
        let (component, version) = (row.component.clone(), format!("{}+local", row.version));
        let (size, digest) = (table::bytes(row.size), row.digest[7..19].to_owned());
        table.row([component, version, row.file.clone(), size, digest, stored.to_owned()]);
    }
    print!("{table}");
    Ok(())
}
