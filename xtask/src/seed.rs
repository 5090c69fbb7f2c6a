//! `cargo xtask seed DIR --to FILE`.

use std::path::PathBuf;

use builder::base::Result;
use builder::flash::{SEED_LABEL, Seed as Files};
use builder::image::Publishing;
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
}

impl Seed {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let seed = Files::read(&self.folder)?;
        let mut file = Publishing::new(&self.to)?;
        seed.write(&mut file)?;
        file.publish(seed.length())?;
        if context.json {
            println!("{}", serde_json::json!({ "seed": self.to, "bytes": seed.length() }));
        } else {
            println!("{}: {} MiB, label {SEED_LABEL}", self.to.display(), seed.length() >> 20);
        }
        Ok(())
    }
}
