//! `cargo xtask completions SHELL`.

use builder::base::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Cli;
use crate::context::Context;

/// Arguments of `completions`.
#[derive(Args)]
pub(crate) struct Completions {
    /// The shell to write for.
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, _: &Context) -> Result<()> {
        clap_complete::generate(self.shell, &mut Cli::command(), "cargo-xtask", &mut std::io::stdout());
        Ok(())
    }
}
