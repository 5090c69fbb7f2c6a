//! Where the disk images of roles are, and the tools that they are tried with.

use std::path::PathBuf;

use builder::base::{Fault, Result};
use builder::build::planner::BuildTarget;
use builder::build::planner::inputs;
use builder::build::planner::system;
use builder::plan::{DiskFormat, Plan};
use builder::rootfs::tools::Tools;
use builder::store::Store;

use crate::context::Context;
use crate::run;
use crate::target::Jobs;

/// `images/hale-ROLE.FORMAT` where outputs of the line go.
pub(crate) fn image_path(target: &BuildTarget, format: DiskFormat) -> Result<PathBuf> {
    let dist = target.project.dist(&target.line)?;
    Ok(dist.join(format!("images/hale-{}.{}", target.role, format.extension())))
}

/// The role's raw image, which must have been made.
pub(crate) fn raw_image(target: &BuildTarget) -> Result<PathBuf> {
    let path = image_path(target, DiskFormat::Raw)?;
    if path.is_file() {
        return Ok(path);
    }
    let BuildTarget { role, line, .. } = target;
    Err(Fault::user(format!("no image of {role} of line {line}"))
        .expected_found(path.display(), "nothing there")
        .help(format!("cargo xtask image {role} --line {line}")))
}

/// QEMU and its firmware, as locked for the site's line, laid out in the store.
pub(crate) fn tools(context: &Context) -> Result<Tools> {
    group(context, system::TOOLS)
}

/// The tools of a group, as locked for the site's line, laid out in the store.
pub(crate) fn group(context: &Context, name: &str) -> Result<Tools> {
    let project = context.project()?;
    let recipe = project.recipe(&project.default_line()?)?;
    let (lock, store, mut plan) = (project.lock(&recipe)?, Store::open(&context.store)?, Plan::new());
    let step = inputs::tools(&mut plan, &lock, &store, name)?;
    plan.want(step);
    let built = run::realise(context, &store, &plan, Jobs::default())?;
    let output = built.get(&step).ok_or_else(|| Fault::bug("the tools were not made"))?.0;
    Tools::open(&store, &output.digest(), lock.epoch)
}
