//! `cargo xtask seed DIR --to FILE`.

use std::path::PathBuf;

use builder::base::Result;
use builder::host::atomic::AtomicFile;
use builder::host::overwrite::{Form, Overwrite, check_outside};
use builder::machine::flash::{SEED_LABEL, Seed as Files};
use clap::Args;

use crate::context::Context;

/// Arguments of `seed`.
#[derive(Args)]
pub(crate) struct Seed {
    /// A folder with node.toml and, for a joining node, its secrets.
    folder: PathBuf,
    /// The disk image to write.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Replace a file that is no seed.
    #[arg(long)]
    overwrite: bool,
}

impl Seed {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let seed = Files::read(&self.folder)?;
        let overwrite = if self.overwrite { Overwrite::Any } else { Overwrite::Own };
        check_outside(&context.store, &self.to)?;
        Form::Seed.check(&self.to, overwrite)?;
        let mut file = AtomicFile::secret(&self.to)?;
        seed.write(&mut file)?;
        file.commit(seed.length())?;
        if context.json {
            println!("{}", serde_json::json!({ "seed": self.to, "bytes": seed.length() }));
        } else {
            println!("{}: {} MiB, label {SEED_LABEL}", self.to.display(), seed.length() >> 20);
        }
        Ok(())
    }
}
