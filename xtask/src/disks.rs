//! Where the disk images of roles are, and the tools that they are tried with.

use std::path::PathBuf;

use builder::base::name::RoleName;
use builder::base::{Fault, Result};
use builder::plan::{DiskFormat, Plan};
use builder::project::Project;
use builder::store::Store;
use builder::system;
use builder::tools::Tools;

use crate::build;
use crate::context::Context;

/// `dist/images/hale-ROLE.FORMAT`.
pub(crate) fn image_path(context: &Context, role: &RoleName, format: DiskFormat) -> PathBuf {
    context.root.join(format!("dist/images/hale-{role}.{}", format.extension()))
}

/// The role's raw image, which must have been made.
pub(crate) fn raw_image(context: &Context, role: &RoleName) -> Result<PathBuf> {
    let path = image_path(context, role, DiskFormat::Raw);
    if path.is_file() {
        return Ok(path);
    }
    Err(Fault::user(format!("no image of {role}"))
        .versus(path.display(), "nothing there")
        .mend(format!("cargo xtask image {role}")))
}

/// QEMU and its firmware, as locked for the site's line, laid out in the store.
pub(crate) fn tools(context: &Context) -> Result<Tools> {
    let project = Project::at(&context.root);
    let recipe = project.recipe(&project.default_line()?)?;
    let (lock, store, mut plan) = (project.lock(&recipe)?, Store::open(&context.store)?, Plan::new());
    let step = system::tools(&mut plan, &lock, &store, system::TOOLS)?;
    plan.want(step);
    let built = build::realise(context, &store, &plan, None)?;
    let output = built.get(&step).ok_or_else(|| Fault::bug("the tools were not made"))?.0;
    Tools::open(&store, &output.digest(), lock.epoch)
}
