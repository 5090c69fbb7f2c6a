//! `cargo xtask flash ROLE --to TARGET`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use builder::base::name::RoleName;
use builder::base::{Fault, Result};
use builder::flash::{Device, Phase, Seed, Target, flash};
use clap::Args;

use crate::context::Context;
use crate::disks;

/// Arguments of `flash`.
#[derive(Args)]
pub(crate) struct Flash {
    /// The role whose image is put on the disk.
    role: RoleName,
    /// A disk (`/dev/sdX`), or a file.
    #[arg(long, value_name = "TARGET")]
    to: PathBuf,
    /// A folder with node.toml and secrets, which becomes a partition labelled HALE-SEED.
    #[arg(long, value_name = "DIR")]
    seed: Option<PathBuf>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl Flash {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let image = disks::raw_image(context, &self.role)?;
        let seed = self.seed.as_deref().map(Seed::read).transpose()?;
        let target = Target::open(&self.to)?;
        if let (Some(device), false) = (target.device(), self.yes) {
            ask(device)?;
        }
        let mut progress = Progress::new(context.json);
        flash(&image, &target, seed.as_ref(), &mut |phase, done, total| progress.tell(phase, done, total))?;
        progress.end();
        if context.json {
            println!("{}", serde_json::json!({ "flashed": self.to, "image": image }));
        } else {
            println!("{} holds {}, read back and equal", self.to.display(), image.display());
        }
        Ok(())
    }
}

/// Shows what the disk is and takes nothing but `yes` for a yes.
fn ask(device: &Device) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Fault::user("flashing a disk needs a yes").mend("run it in a terminal, or add --yes"));
    }
    eprintln!("{device}");
    eprint!("Everything on it will be lost. Type yes to go on: ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|e| Fault::io("read", "the answer", e))?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Fault::user("not flashed: the answer was not yes")) }
}

/// One line on a terminal, redrawn at most ten times a second.
struct Progress {
    quiet: bool,
    phase: Option<Phase>,
    began: Instant,
    drawn: Instant,
}

impl Progress {
    fn new(json: bool) -> Self {
        let now = Instant::now();
        let quiet = json || !std::io::stderr().is_terminal();
        Self { quiet, phase: None, began: now, drawn: now }
    }

    fn tell(&mut self, phase: Phase, done: u64, total: u64) {
        if self.phase != Some(phase) {
            (self.phase, self.began) = (Some(phase), Instant::now());
        }
        if self.quiet || (self.drawn.elapsed() < Duration::from_millis(100) && done < total) {
            return;
        }
        self.drawn = Instant::now();
        let rate = done as f64 / self.began.elapsed().as_secs_f64().max(0.001);
        let left = total.saturating_sub(done) as f64 / rate.max(1.0);
        let what = if phase == Phase::Writing { "writing  " } else { "verifying" };
        let (percent, rate) = (done * 100 / total.max(1), rate / 1e6);
        eprint!("\r{what} {percent:3} %  {rate:7.1} MB/s  {left:4.0} s left ");
        let _ = std::io::stderr().flush();
    }

    fn end(&self) {
        if !self.quiet {
            eprintln!();
        }
    }
}
