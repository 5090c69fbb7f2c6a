//! A master and a node of the line that is booted in tests, from power-on to every check, more than once.

use std::time::Instant;

use builder::base::Result;

use super::Row;
use super::image::seconds;
use crate::context::Context;
use crate::test;

/// How often: one good run may be luck.
const RUNS: u32 = 3;

/// Runs the test with the user's own store; it fails if one run does, or if a component was not handed over.
pub(crate) fn run(context: &Context, tell: &mut dyn FnMut(Row)) -> Result<()> {
    for run in 1..=RUNS {
        let mut cargo = test::cargo(context);
        cargo.args(["--test", "cluster", "--", "--include-ignored", "--nocapture"]);
        let begun = Instant::now();
        test::run(cargo.env("HALE_STORE", &context.store))?;
        tell(seconds(&format!("two machines, run {run} of {RUNS}"), begun.elapsed().as_secs_f64(), None));
    }
    Ok(())
}
