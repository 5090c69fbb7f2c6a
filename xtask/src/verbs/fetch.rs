//! `cargo xtask fetch [LINE]`: everything that the lock names and that can be had.

use builder::base::name::LineName;
use builder::base::{Fault, Result, Url};
use builder::fetch::locked;
use builder::fetch::mirror::Mirrors;
use builder::fetch::{self, FetchRequest, FetchSummary};
use builder::lock::{Lock, LockedOrigin, LockedSuite};
use builder::store::Store;
use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::target::LineArg;
use crate::ui::progress::{Bar, ProgressUnit};
use crate::ui::table;

/// Arguments of `fetch`.
#[derive(Args)]
pub(crate) struct Fetch {
    #[command(flatten)]
    line: LineArg,
    /// Only components and packages of these names.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// A file or folder of apt sources, in place of the machine's.
    #[arg(long, value_name = "PATH")]
    sources: Option<std::path::PathBuf>,
    /// An archive to ask when the mirrors no longer have a version; `{time}` in it stands for the moment
    /// of the lock's Release [default: those in $HALE_SNAPSHOTS].
    #[arg(long, value_name = "URL")]
    snapshot: Vec<String>,
}

/// What a fetch tells.
#[derive(Serialize)]
struct FetchReport {
    line: LineName,
    present: Vec<String>,
    fetched: Vec<FetchedInput>,
    missing: Vec<MissingInput>,
    local: Vec<String>,
}

#[derive(Serialize)]
struct FetchedInput {
    name: String,
    bytes: u64,
    from: String,
    refused: Vec<String>,
}

#[derive(Serialize)]
struct MissingInput {
    name: String,
    why: String,
    #[serde(rename = "mend")]
    help: Option<String>,
}

impl Fetch {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let project = context.project()?;
        let line = self.line.of(project)?;
        let lock = project.lock(&project.recipe(&line)?)?;
        let all = self.wanted(context, &lock)?;
        let wanted: Vec<FetchRequest> = all.iter().filter(|wanted| self.means(wanted)).cloned().collect();
        let store = Store::open(&context.store)?;
        let mut to_do = 0;
        for one in &wanted {
            to_do += if one.present(&store)?.is_some() { 0 } else { one.size.unwrap_or_default() };
        }
        let progress = Bar::new(context.show(), ProgressUnit::Bytes, to_do);
        let summary = fetch::fetch(&store, &context.client()?, &wanted, &progress);
        progress.finish();
        let mut kept = Vec::new();
        for one in &all {
            kept.extend(one.present(&store)?.unwrap_or_default());
        }
        store.add_root(&project.lock_path(&line), &kept)?;
        finish(context, &lock, summary?)
    }

    fn means(&self, wanted: &FetchRequest) -> bool {
        self.only.is_empty()
            || wanted.name.split(' ').next().is_some_and(|name| self.only.iter().any(|o| o == name))
    }

    /// All that the lock names, from the machine's mirrors and then the snapshots.
    fn wanted(&self, context: &Context, lock: &Lock) -> Result<Vec<FetchRequest>> {
        let mirrors = Mirrors::read(&context.apt_sources(self.sources.clone()))?;
        let snapshots = if self.snapshot.is_empty() { context.snapshots() } else { self.snapshot.clone() };
        locked::wanted(lock, &|suite: &LockedSuite| {
            let late: Vec<Url> =
                snapshots.iter().map(|url| locked::mirror_at(url, suite)).collect::<Result<_>>()?;
            let own = match mirrors.of(&suite.name) {
                Ok(own) => own.into_iter().cloned().collect(),
                Err(_) if !late.is_empty() => Vec::new(),
                Err(fault) => return Err(fault),
            };
            Ok([own, late].concat())
        })
    }
}

fn finish(context: &Context, lock: &Lock, summary: FetchSummary) -> Result<()> {
    let failed = summary.gravest().map(|gravest| {
        let count =
            summary.missing.iter().filter(|(_, fault)| fault.class() != builder::base::Class::User).count();
        let (class, what) = (gravest.class(), format!("{count} inputs could not be fetched"));
        Fault::new(class, what)
            .help("see above; what came is kept, and `cargo xtask fetch` goes on from there")
    });
    let report = FetchReport::new(lock, summary);
    if context.json {
        table::json(&report)?
    } else {
        report.print()
    }
    failed.map_or(Ok(()), Err)
}

impl FetchReport {
    fn new(lock: &Lock, summary: FetchSummary) -> Self {
        let fetched = summary.fetched.into_iter().map(|fetched| FetchedInput {
            name: fetched.name,
            bytes: fetched.bytes,
            from: fetched.from.to_string(),
            refused: fetched.refused.iter().map(Fault::to_string).collect(),
        });
        let missing = summary.missing.into_iter().map(|(name, fault)| MissingInput {
            name,
            why: [fault.what()]
                .into_iter()
                .chain(fault.causes().iter().map(String::as_str))
                .collect::<Vec<_>>()
                .join(": "),
            help: fault.help_text().map(str::to_owned),
        });
        let added = lock.inputs.values().filter(|input| matches!(input.from, LockedOrigin::Supplied { .. }));
        let local = added.map(|input| format!("{} {}", input.component, input.version)).collect();
        let (fetched, missing) = (fetched.collect(), missing.collect());
        Self { line: lock.line.clone(), present: summary.present, fetched, missing, local }
    }

    fn print(&self) {
        for fetched in &self.fetched {
            for refused in &fetched.refused {
                println!("{}: {refused}", fetched.name);
            }
        }
        for missing in &self.missing {
            println!("MISSING: {}: {}", missing.name, missing.why);
            if let Some(help) = &missing.help {
                println!("         {help}");
            }
        }
        for name in &self.local {
            println!("LOCAL: {name} was handed over to this checkout; its package's version ends in +local");
        }
        let bytes = self.fetched.iter().map(|fetched| fetched.bytes).sum();
        let (new, old, missing) = (self.fetched.len(), self.present.len(), self.missing.len());
        println!(
            "{}: {new} fetched ({}), {old} were there, {missing} missing",
            self.line,
            table::bytes(bytes)
        );
    }
}
