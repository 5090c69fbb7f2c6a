//! What a person waits for at their desk: bundles and locks.

use builder::base::Result;
use serde_json::Value;

use super::lab::{Lab, number};
use super::measurement::{Goal, Measurement, Unit};
use crate::context::Context;

/// How often a short thing is measured; the fastest counts, being the least disturbed.
const TIMES: usize = 5;

/// An overlay file, a line of it, and the line as somebody would change it.
const LINE: (&str, &str, &str) = ("overlays/common/etc/containers/registries.conf", "#", "# Changed.\n#");

/// Measures.
pub(crate) fn run(context: &Context, record: &mut dyn FnMut(Measurement)) -> Result<()> {
    let lab = Lab::new(context)?;
    let (cold, said) = lab.run(&["build", "master"])?;
    let peak = Goal::AtMost(300e6);
    record(seconds("cold build, hale compiled with all its crates", cold, None));
    record(bytes("  peak memory", number(&said, "/peak_memory")?, Some(peak)));
    cost(&said, record)?;
    lab.forget(&lab.store())?;
    let (cold, said) = lab.run(&["build", "master"])?;
    record(seconds("cold build, hale's crates compiled before", cold, None));
    record(bytes("  peak memory", number(&said, "/peak_memory")?, Some(peak)));
    let (nothing, said) = fastest(|_| lab.run(&["build", "master"]))?;
    record(seconds("build with nothing to do", nothing, Some(Goal::AtMost(0.15))));
    cost(&said, record)?;
    let (changed, said) = fastest(|_| {
        lab.edit(LINE.0, LINE.1, LINE.2)?;
        lab.run(&["build", "master"])
    })?;
    record(seconds("one overlay line to new .deb and OCI image", changed, Some(Goal::AtMost(1.0))));
    cost(&said, record)?;
    lab.run(&["lock"])?;
    let (lock, _) = fastest(|_| lab.run(&["lock"]))?;
    record(seconds("lock, package indices here already", lock, Some(Goal::AtMost(3.0))));
    Ok(())
}

/// What was hashed and written, and how much more that is than what it takes at least: each new byte is
/// written once into the store and once into the bundle's folder.
fn cost(said: &Value, record: &mut dyn FnMut(Measurement)) -> Result<()> {
    for (what, pointer) in [
        ("  bytes hashed", "/spent/hashed"),
        ("  bytes written", "/spent/written"),
        ("  bytes new to the store", "/spent/added"),
    ] {
        record(bytes(what, number(said, pointer)?, None));
    }
    let (written, added) = (number(said, "/spent/written")?, number(said, "/spent/added")?);
    if added > 0.0 {
        let what = "  written, by the least that can be".to_owned();
        record(Measurement { what, value: written / (2.0 * added), unit: Unit::Ratio, goal: None });
    }
    Ok(())
}

fn fastest(mut measure: impl FnMut(usize) -> Result<(f64, Value)>) -> Result<(f64, Value)> {
    let mut best = measure(0)?;
    for time in 1..TIMES {
        let next = measure(time)?;
        if next.0 < best.0 {
            best = next;
        }
    }
    Ok(best)
}

fn seconds(what: &str, value: f64, goal: Option<Goal>) -> Measurement {
    Measurement { what: what.to_owned(), value, unit: Unit::Seconds, goal }
}

fn bytes(what: &str, value: f64, goal: Option<Goal>) -> Measurement {
    Measurement { what: what.to_owned(), value, unit: Unit::Bytes, goal }
}
