//! First boots of a disk of ours, cut at many of its flushes; each must come up again.

use builder::base::Result;

use super::measurement::{Measurement, Unit};
use crate::context::Context;
use crate::verbs::test;

/// At how many flushes.
const CUTS: u32 = 50;

/// Runs the test with more cuts; it fails if one disk of them does not come up.
pub(crate) fn run(context: &Context, record: &mut dyn FnMut(Measurement)) -> Result<()> {
    let mut cargo = test::cargo(context)?;
    test::run(cargo.args(["--test", "machines", "machine::cut::"]).env("HALE_CUTS", CUTS.to_string()))?;
    let what = "flushes that a first boot was cut at, and came up".to_owned();
    record(Measurement { what, value: f64::from(CUTS), unit: Unit::Count, goal: None });
    Ok(())
}
