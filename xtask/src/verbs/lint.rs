//! `cargo xtask lint`: renders the overlays and reads every file by the schema of its version.

use std::collections::BTreeMap;

use builder::base::Result;
use builder::base::json;
use builder::overlay::lint::lint;
use builder::recipe::Recipe;
use clap::Args;

use crate::context::Context;
use crate::target::LineArg;

/// Arguments of `lint`.
#[derive(Args)]
pub(crate) struct Lint {
    #[command(flatten)]
    line: LineArg,
}

impl Lint {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let project = context.project()?;
        let files = project.files()?;
        let line = self.line.of(project)?;
        // Overlays need no lock; but one that was edited is an error wherever it is met.
        project.last_lock(&line)?;
        let report = lint(files, &Recipe::parse(files, &line)?)?;
        if context.json {
            print!("{}", String::from_utf8_lossy(&json::pretty(&report)?));
            return Ok(());
        }
        let mut formats: BTreeMap<&str, usize> = BTreeMap::new();
        for format in report.files.values() {
            *formats.entry(format).or_default() += 1;
        }
        for (format, count) in formats {
            println!("{count:>3}  {format}");
        }
        println!("{} files of line {line}: every key is known to its program", report.files.len());
        Ok(())
    }
}
