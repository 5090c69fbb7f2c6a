//! `cargo xtask lock [LINE]`.

use std::path::PathBuf;

use builder::base::name::{LineName, PackageName};
use builder::base::{Fault, Result, json};
use builder::fetch::mirror::{Mirrors, SuiteReader};
use builder::host::checkout::Project;
use builder::lock::Lock as Locked;
use builder::lock::diff::{self, LockChange};
use builder::lock::resolve::{self, UpdatePolicy};

use crate::context::Context;
use crate::target::LineArg;
use crate::ui;

/// Arguments of `lock`.
#[derive(clap::Args)]
pub(crate) struct Lock {
    #[command(flatten)]
    line: LineArg,
    /// Move this package alone; the others stay as long as the archive has their versions.
    #[arg(long, value_name = "PACKAGE")]
    update: Option<PackageName>,
    /// A file or folder of apt sources, in place of the machine's.
    #[arg(long, value_name = "PATH")]
    sources: Option<PathBuf>,
}

impl Lock {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let project = context.project()?;
        let line = self.line.of(project)?;
        let recipe = project.recipe(&line)?;
        let last = self.last(project, &line)?;
        let mirrors = Mirrors::read(&context.apt_sources(self.sources))?;
        let client = context.client()?;
        let reader = SuiteReader {
            client: &client,
            cache: &context.indices(),
            now: context.now()?,
            arch: recipe.line.arch,
            sources: recipe.sources.keys().cloned().collect(),
        };
        let snapshot = reader.snapshot(&mirrors, project.files()?, &recipe.line, last.as_ref())?;
        let policy = match (&last, &self.update) {
            (Some(last), Some(package)) => UpdatePolicy::One(last, package),
            _ => UpdatePolicy::All,
        };
        let lock = resolve::resolve(&recipe, snapshot, policy)?;
        let changes = diff::changes(last.as_ref(), &lock);
        if last.as_ref() != Some(&lock) {
            project.write_lock(&lock)?;
        }
        report(context, project, &lock, &changes)
    }

    /// The lock to compare with. One that cannot be read is made anew, unless a part of it is to stay.
    fn last(&self, project: &Project, line: &LineName) -> Result<Option<Locked>> {
        match (project.last_lock(line), &self.update) {
            (Ok(None), Some(package)) => Err(Fault::user(format!("no lock in which `{package}` could move"))
                .help(format!("cargo xtask lock {line}"))),
            (Err(fault), None) => {
                eprintln!("note: the old lock cannot be read and is made anew: {fault}");
                Ok(None)
            }
            (last, _) => last,
        }
    }
}

#[derive(serde::Serialize)]
struct LockReport<'a> {
    line: &'a LineName,
    lock: PathBuf,
    packages: usize,
    changes: &'a [LockChange],
}

fn report(context: &Context, project: &Project, lock: &Locked, changes: &[LockChange]) -> Result<()> {
    let path = project.lock_path(&lock.line);
    if context.json {
        let packages = lock.packages.len();
        let report = LockReport { line: &lock.line, lock: path, packages, changes };
        print!("{}", String::from_utf8_lossy(&json::pretty(&report)?));
        return Ok(());
    }
    print!("{}", ui::changes::draw(changes));
    let changed = match changes.len() {
        0 => "nothing changed".to_owned(),
        count => format!("{count} entries changed"),
    };
    println!("{}: {} packages, {changed}", path.display(), lock.packages.len());
    Ok(())
}
