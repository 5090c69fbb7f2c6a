//! `cargo xtask bench [NAME…]`: measures what we promise about speed and size, on this machine.
//!
//! A bench measures and tells; it never fails because a machine is slow. Each is one file below `bench/`.

mod boot;
mod build;
mod cluster;
mod image;
mod lab;
mod measurement;
mod powercut;
mod shim;

use builder::base::{Fault, Result};
use clap::Args;

use crate::context::Context;
use crate::ui::table;

use measurement::Measurement;

/// Arguments of `bench`.
#[derive(Args)]
pub(crate) struct Bench {
    /// Which benches [default: all].
    names: Vec<String>,
}

/// A bench: its name, what it is about, and how it measures.
struct Benchmark {
    name: &'static str,
    about: &'static str,
    run: fn(&Context, &mut dyn FnMut(Measurement)) -> Result<()>,
}

const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        name: "boot",
        about: "power-on to multi-user, beside a Debian made by mmdebstrap",
        run: boot::run,
    },
    Benchmark {
        name: "build",
        about: "role bundles and the lock, from a copy of the checkout",
        run: build::run,
    },
    Benchmark {
        name: "cluster",
        about: "a master and a node, from power-on to every check",
        run: cluster::run,
    },
    Benchmark { name: "image", about: "root trees and disks, beside mmdebstrap and mke2fs", run: image::run },
    Benchmark { name: "powercut", about: "first boots whose power goes, and comes back", run: powercut::run },
    Benchmark { name: "shim", about: "what the shim adds to a call of crun", run: shim::run },
];

impl Bench {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        if let Some(unknown) =
            self.names.iter().find(|name| BENCHMARKS.iter().all(|benchmark| benchmark.name != **name))
        {
            let known: Vec<_> = BENCHMARKS.iter().map(|benchmark| benchmark.name).collect();
            return Err(
                Fault::user(format!("no bench `{unknown}`")).expected_found(known.join(", "), unknown)
            );
        }
        let wanted = |benchmark: &&Benchmark| {
            self.names.is_empty() || self.names.iter().any(|name| name == benchmark.name)
        };
        for benchmark in BENCHMARKS.iter().filter(wanted) {
            if !context.json {
                println!("{}: {}", benchmark.name, benchmark.about);
            }
            let mut measurements = Vec::new();
            (benchmark.run)(context, &mut |measurement| {
                if !context.json {
                    println!("{}", measurement.show());
                }
                measurements.push(measurement);
            })?;
            if context.json {
                table::json(&(benchmark.name, measurements))?;
            }
        }
        Ok(())
    }
}
