//! A master and a node of the line that is booted in tests: first boots more than once, phase by phase, then
//! every fault; and a master whose images are imported at its first boot.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use builder::base::{Fault, Result};

use super::image::{ratio, seconds};
use super::measurement::{Goal, Measurement};
use crate::context::Context;
use crate::verbs::test;

/// How often both come up: one good run may be luck.
const RUNS: usize = 3;
/// The time that both ways of bringing images have.
const BOOTSTRAP: &str = "master: the bootstrap is done, since power-on";

/// Runs the test with the user's own store; it fails if one run does, or if a component was not handed over.
pub(crate) fn run(context: &Context, record: &mut dyn FnMut(Measurement)) -> Result<()> {
    let folder = tempfile::tempdir().map_err(|e| Fault::machine("no scratch folder").cause(e))?;
    let mut preloaded: f64 = 0.0;
    for run in 1..=RUNS {
        for (what, took) in stages(context, folder.path(), &["cluster::up::", "--include-ignored"])? {
            if what == BOOTSTRAP {
                preloaded = preloaded.max(took);
            }
            record(seconds(&format!("{run} of {RUNS}: {what}"), took, None));
        }
    }
    stages(context, folder.path(), &["cluster::", "--skip", "cluster::up::"])?;
    let imported = stages(context, folder.path(), &["cluster::import::", "--include-ignored"])?;
    for (what, took) in imported {
        record(seconds(&format!("images imported: {what}"), took, None));
        if what == BOOTSTRAP {
            record(ratio("  preloaded by imported", preloaded / took, Goal::AtMost(0.6)));
        }
    }
    Ok(())
}

/// Runs stages on the disks that `folder` has, and gives the times that it has then.
fn stages(context: &Context, folder: &Path, which: &[&str]) -> Result<Vec<(String, f64)>> {
    let mut cargo = test::cargo(context)?;
    cargo.args(["--test", "machines", "--", "--nocapture"]).args(which);
    let folders = [("HALE_STORE", context.store.as_os_str()), ("HALE_CLUSTER", OsStr::new(folder))];
    test::run(cargo.envs(folders))?;
    let path = folder.join("times.json");
    let text = fs::read(&path).map_err(|e| Fault::io("read", &path, e))?;
    serde_json::from_slice(&text).map_err(|e| Fault::bug(format!("{} is not times", path.display())).cause(e))
}
