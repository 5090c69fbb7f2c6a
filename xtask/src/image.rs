//! `cargo xtask image ROLE`: a disk that boots as a machine of the role.

use std::path::PathBuf;

use builder::base::name::{LineName, RoleName};
use builder::base::{Digest, Fault, Result};
use builder::image::{Format, assemble, convert};
use builder::pack::disk::{Disk, SLACK};
use builder::project::Project;
use builder::root::{Builder, Limits};
use builder::sandbox::Sandbox;
use builder::store::Store;
use builder::system::System;
use clap::Args;

use crate::context::Context;
use crate::{disks, table};

/// A console to see on a screen and over a wire, and the cgroups that a kubelet before 1.19 needs.
const ARGUMENTS: &str = "console=tty0 console=ttyS0,115200 systemd.unified_cgroup_hierarchy=0 \
     systemd.legacy_systemd_cgroup_controller=1";

/// Arguments of `image`.
#[derive(Args)]
pub(crate) struct Image {
    /// The role.
    role: RoleName,
    /// The line [default: the newest].
    #[arg(long)]
    line: Option<LineName>,
    /// Make other forms too: qcow2, raw.zst.
    #[arg(long, value_name = "FORMAT")]
    format: Vec<Format>,
    /// Make an image that is no node: without the packages whose dependencies are not here.
    #[arg(long)]
    without_components: bool,
}

impl Image {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let project = Project::at(&context.root);
        let line = self.line.clone().map_or_else(|| project.default_line(), Ok)?;
        let recipe = project.recipe(&line)?;
        let (role, lock) = (recipe.role(self.role.as_str())?, project.lock(&recipe)?);
        let store = Store::open(&context.store)?;
        let system = System::gather(&store, &context.root.join("dist"), role, &lock)?;
        if !system.left_out.is_empty() && !self.without_components {
            return Err(refusal(&system));
        }
        let (sandbox, limits) = (Sandbox::of_this_program()?, Limits::default());
        let root = system.root(&Builder { store: &store, sandbox: &sandbox, epoch: lock.epoch, limits })?;
        let identity = Digest::of(format!("disk {root} {ARGUMENTS}"));
        let disk = Disk { identity, epoch: lock.epoch, arguments: ARGUMENTS.to_owned(), slack: SLACK };
        let raw = disks::image_path(context, &self.role, Format::Raw);
        let bytes = assemble(&disk, &store.tree(&root)?, &store, &disks::tools(), &raw)?;
        for format in self.format.iter().filter(|format| **format != Format::Raw) {
            convert(&raw, *format, &disks::image_path(context, &self.role, *format))?;
        }
        self.show(context, &system, &raw, bytes)
    }

    fn show(&self, context: &Context, system: &System, raw: &PathBuf, bytes: u64) -> Result<()> {
        let (debian, own) = system.len();
        if context.json {
            let value = serde_json::json!({
                "image": raw, "bytes": bytes, "debian": debian, "own": own, "left-out": system.left_out,
            });
            println!("{value}");
            return Ok(());
        }
        for (name, lacks) in &system.left_out {
            println!("LEFT OUT: {name}, for want of {}", lacks.join(", "));
        }
        if !system.left_out.is_empty() {
            println!("This is no {}: it boots, and nothing more.", self.role);
        }
        println!("{}: {}, {debian} packages of Debian, {own} of ours", raw.display(), table::bytes(bytes));
        Ok(())
    }
}

fn refusal(system: &System) -> Fault {
    let mut fault = Fault::user("packages of the role cannot be installed: what they depend on is not here");
    for (name, lacks) in &system.left_out {
        fault = fault.because(format!("{name} wants {}", lacks.join(", ")));
    }
    fault.mend("cargo xtask fetch, then cargo xtask build components; or give --without-components")
}
