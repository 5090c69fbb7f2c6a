//! `cargo xtask completions SHELL`.

use builder::base::Result;
use clap::{Args, Command};
use clap_complete::Shell;

use crate::context::Context;
use crate::ui::table;

/// Arguments of `completions`.
#[derive(Args)]
pub(crate) struct Completions {
    /// The shell to write for.
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, context: &Context, mut cli: Command) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut cli, "cargo-xtask", &mut script);
        let script = String::from_utf8_lossy(&script);
        if context.json {
            return table::json(&serde_json::json!({ "shell": self.shell.to_string(), "script": script }));
        }
        print!("{script}");
        Ok(())
    }
}
