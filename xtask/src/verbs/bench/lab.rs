//! A copy of the checkout with a store of its own, in which this program is started and timed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use builder::base::{Fault, Result};
use serde_json::Value;

use crate::checkout;
use crate::context::Context;

/// The copy; it goes when it is dropped.
pub(crate) struct Lab {
    scratch: tempfile::TempDir,
    program: PathBuf,
}

impl Lab {
    /// Copies the checkout.
    pub(crate) fn new(context: &Context) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("hale-bench-").tempdir();
        let scratch = scratch.map_err(|e| Fault::machine("no scratch directory").cause(e))?;
        let program =
            std::env::current_exe().map_err(|e| Fault::machine("cannot find this program").cause(e))?;
        checkout::copy(context.root()?, &scratch.path().join("checkout"))?;
        Ok(Self { scratch, program })
    }

    /// Returns the copy's top folder.
    pub(crate) fn checkout(&self) -> PathBuf {
        self.scratch.path().join("checkout")
    }

    /// Returns the copy's store.
    pub(crate) fn store(&self) -> PathBuf {
        self.scratch.path().join("store")
    }

    /// Runs a verb; gives its time in seconds and what it said in JSON.
    pub(crate) fn run(&self, verb: &[&str]) -> Result<(f64, Value)> {
        let mut command = Command::new(&self.program);
        command.arg("--json").arg("--store").arg(self.store()).args(verb);
        command.env("HALE_ROOT", self.checkout()).env_remove("CARGO_TARGET_DIR");
        let start = Instant::now();
        let output = command.output().map_err(|e| Fault::io("run", &self.program, e))?;
        let seconds = start.elapsed().as_secs_f64();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Fault::machine(format!("`{}` failed", verb.join(" "))).cause(said));
        }
        let said = serde_json::from_slice(&output.stdout);
        Ok((seconds, said.map_err(|e| Fault::bug(format!("`{}` speaks no JSON", verb.join(" "))).cause(e))?))
    }

    /// Replaces words in a file of the copy.
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let path = self.checkout().join(file);
        let text = fs::read_to_string(&path).map_err(|e| Fault::io("read", &path, e))?;
        if !text.contains(from) {
            return Err(Fault::bug(format!("{file} does not hold `{from}`")));
        }
        fs::write(&path, text.replacen(from, to, 1)).map_err(|e| Fault::io("write", &path, e))
    }

    /// Empties a folder of the copy.
    pub(crate) fn forget(&self, folder: &Path) -> Result<()> {
        fs::remove_dir_all(folder).map_err(|e| Fault::io("remove", folder, e))
    }
}

/// Finds a number in what a verb said, by its JSON pointer (RFC 6901).
pub(crate) fn number(said: &Value, pointer: &str) -> Result<f64> {
    let found = said.pointer(pointer).and_then(Value::as_f64);
    found.ok_or_else(|| Fault::bug(format!("no number at {pointer}")))
}
