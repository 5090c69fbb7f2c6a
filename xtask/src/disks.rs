//! Where the disk images of roles are.

use std::path::PathBuf;

use builder::base::name::RoleName;
use builder::base::{Fault, Result};
use builder::image::{Format, Tools};

use crate::context::Context;

/// `dist/ROLE/hale-ROLE.FORMAT`.
pub(crate) fn image_path(context: &Context, role: &RoleName, format: Format) -> PathBuf {
    context.root.join(format!("dist/{role}/hale-{role}.{}", format.extension()))
}

/// The role's raw image, which must have been made.
pub(crate) fn raw_image(context: &Context, role: &RoleName) -> Result<PathBuf> {
    let path = image_path(context, role, Format::Raw);
    if path.is_file() {
        return Ok(path);
    }
    Err(Fault::user(format!("no image of {role}"))
        .versus(path.display(), "nothing there")
        .mend(format!("cargo xtask image {role}")))
}

/// The programs that disks and virtual machines need: `$HALE_TOOLS`, or the machine's own.
pub(crate) fn tools() -> Tools {
    Tools::new(std::env::var_os("HALE_TOOLS").map_or_else(|| PathBuf::from("/"), PathBuf::from))
}
