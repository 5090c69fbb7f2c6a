//! `cargo xtask flash ROLE --to TARGET`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use builder::base::progress::Progress;
use builder::base::{Fault, Result};
use builder::host::overwrite::{Overwrite, check_outside};
use builder::machine::flash::{Device, Phase, Seed, Target, flash};
use builder::store::Store;
use clap::Args;

use crate::context::Context;
use crate::disks;
use crate::target::Choice;
use crate::ui::progress::{Bar, ProgressUnit};

/// Arguments of `flash`.
#[derive(Args)]
pub(crate) struct Flash {
    #[command(flatten)]
    choice: Choice,
    /// A disk (`/dev/sdX`), or a file.
    #[arg(long, value_name = "TARGET")]
    to: PathBuf,
    /// A folder with node.toml and secrets, which becomes a partition labelled HALE-SEED.
    #[arg(long, value_name = "DIR")]
    seed: Option<PathBuf>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Write over a file that is no disk of Hale's.
    #[arg(long)]
    overwrite: bool,
}

impl Flash {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let image = disks::raw_image(&self.choice.target(context)?)?;
        let seed = self.seed.as_deref().map(Seed::read).transpose()?;
        let overwrite = if self.overwrite { Overwrite::Any } else { Overwrite::Own };
        check_outside(&context.store, &self.to)?;
        let target = Target::open(&self.to, overwrite)?;
        target.check_outside(&Store::open(&context.store)?)?;
        if let (Some(device), false) = (target.device(), self.yes) {
            ask(device)?;
        }
        write(&image, &target, seed.as_ref(), &Bar::new(context.show(), ProgressUnit::Bytes, 0))?;
        if context.json {
            println!("{}", serde_json::json!({ "flashed": self.to, "image": image }));
        } else {
            println!("{} holds {}, read back and equal", self.to.display(), image.display());
        }
        Ok(())
    }
}

/// Every byte passes twice: once to the disk, once back.
fn write(image: &Path, target: &Target, seed: Option<&Seed>, progress: &dyn Progress) -> Result<()> {
    let mut last = None;
    flash(image, target, seed, &mut |phase, done, total| {
        let before = match last {
            Some((known, before)) if known == phase => before,
            _ => {
                progress.log(if phase == Phase::Writing { "writing" } else { "reading back" });
                progress.expect(total);
                0
            }
        };
        progress.advance(done - before);
        last = Some((phase, done));
    })
}

/// Shows what the disk is and takes nothing but `yes` for a yes.
fn ask(device: &Device) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Fault::user("flashing a disk needs a yes").help("run it in a terminal, or add --yes"));
    }
    eprintln!("{device}");
    eprint!("Everything on it will be lost. Type yes to go on: ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|e| Fault::io("read", "the answer", e))?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Fault::user("not flashed: the answer was not yes")) }
}
