//! `cargo xtask bench [NAME…]`: measures what we promise about speed and size, on this machine.
//!
//! A bench measures and tells; it never fails because a machine is slow. Each is one file below `bench/`.

mod boot;
mod build;
mod cluster;
mod image;
mod lab;
mod powercut;
mod shim;

use builder::base::{Fault, Result};
use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::table;

/// Arguments of `bench`.
#[derive(Args)]
pub(crate) struct Bench {
    /// Which benches [default: all].
    names: Vec<String>,
}

/// A bench: its name, what it is about, and how it measures.
struct Kind {
    name: &'static str,
    about: &'static str,
    run: fn(&Context, &mut dyn FnMut(Row)) -> Result<()>,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "boot",
        about: "power-on to multi-user, beside a Debian made by mmdebstrap",
        run: boot::run,
    },
    Kind { name: "build", about: "role bundles and the lock, from a copy of the checkout", run: build::run },
    Kind { name: "cluster", about: "a master and a node, from power-on to every check", run: cluster::run },
    Kind { name: "image", about: "root trees and disks, beside mmdebstrap and mke2fs", run: image::run },
    Kind { name: "powercut", about: "first boots whose power goes, and comes back", run: powercut::run },
    Kind { name: "shim", about: "what the shim adds to a call of crun", run: shim::run },
];

/// What a number counts.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    /// Time.
    Seconds,
    /// Size.
    Bytes,
    /// One number by another.
    Ratio,
    /// How many there are.
    Count,
}

/// What we want a number to be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Goal {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// One measured number.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// The number.
    pub(crate) value: f64,
    /// What it counts.
    pub(crate) unit: Unit,
    /// What we want it to be, where we have promised something.
    pub(crate) goal: Option<Goal>,
}

impl Goal {
    fn met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 10.0 => format!("{value:.3} s"),
            Self::Seconds => format!("{value:.1} s"),
            Self::Bytes => table::bytes(value as u64),
            Self::Ratio => format!("{value:.2}"),
            Self::Count => format!("{value:.0}"),
        }
    }
}

impl Row {
    fn show(&self) -> String {
        let value = self.unit.show(self.value);
        let goal = self.goal.map_or_else(String::new, |goal| {
            let (word, bound) = match goal {
                Goal::AtMost(bound) => ("at most", bound),
                Goal::AtLeast(bound) => ("at least", bound),
            };
            let verdict = if goal.met(self.value) { "met" } else { "MISSED" };
            format!("  (goal: {word} {}, {verdict})", self.unit.show(bound))
        });
        format!("  {:<56} {value:>10}{goal}", self.what)
    }
}

impl Bench {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        if let Some(unknown) = self.names.iter().find(|name| KINDS.iter().all(|kind| kind.name != **name)) {
            let known: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
            return Err(Fault::user(format!("no bench `{unknown}`")).versus(known.join(", "), unknown));
        }
        let wanted = |kind: &&Kind| self.names.is_empty() || self.names.iter().any(|name| name == kind.name);
        for kind in KINDS.iter().filter(wanted) {
            if !context.json {
                println!("{}: {}", kind.name, kind.about);
            }
            let mut rows = Vec::new();
            (kind.run)(context, &mut |row| {
                if !context.json {
                    println!("{}", row.show());
                }
                rows.push(row);
            })?;
            if context.json {
                table::json(&(kind.name, rows))?;
            }
        }
        Ok(())
    }
}
