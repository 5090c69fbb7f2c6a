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

use measurement::Row;

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

impl Bench {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        if let Some(unknown) = self.names.iter().find(|name| KINDS.iter().all(|kind| kind.name != **name)) {
            let known: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
            return Err(
                Fault::user(format!("no bench `{unknown}`")).expected_found(known.join(", "), unknown)
            );
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
