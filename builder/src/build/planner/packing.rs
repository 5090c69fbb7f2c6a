//! Adds role packages to a plan: rendered files, their tree, the `.deb`.

use crate::base::{Digest, Epoch, Fault, Result};
use crate::formats::debian::script::Script;
use crate::overlay::role_package::RolePackage;
use crate::plan::{DebMetadata, DebStep, FilesStep, Plan, StepId};
use crate::store::Store;

/// Adds the steps of a role package: the digest of its rendered files, the steps of their tree and of the `.deb`.
pub(super) fn pack(
    plan: &mut Plan,
    package: &RolePackage,
    epoch: Epoch,
    store: &Store,
) -> Result<(Digest, StepId, StepId)> {
    let (files, tree) = files(plan, package, store)?;
    let name = &package.name;
    let deb = plan.add(format!("deb {name}"), DebStep { package: metadata(package)?, tree, epoch })?;
    Ok((files, tree, deb))
}

/// Adds the step of a role package's rendered files, which go into the store; and their digest.
pub(super) fn files(plan: &mut Plan, package: &RolePackage, store: &Store) -> Result<(Digest, StepId)> {
    store.put_all(&package.rendered.contents)?;
    let files = store.put_tree(&package.rendered.tree)?;
    let tree = plan.add(format!("files {}", package.name), FilesStep { tree: files })?;
    Ok((files, tree))
}

/// Returns a field of the package's control file.
pub(super) fn field(package: &RolePackage, name: &str) -> Result<String> {
    package.control.need(name).map(str::to_owned)
}

/// Returns the package's metadata.
pub(super) fn metadata(package: &RolePackage) -> Result<DebMetadata> {
    let control = package.control.fields().map(|field| (field.name.clone(), field.value.clone())).collect();
    let script = |(name, text): (&&str, &String)| {
        let all = [Script::Preinst, Script::Postinst, Script::Prerm, Script::Postrm];
        let script = all.into_iter().find(|script| script.as_str() == *name);
        script
            .map(|script| (script, text.clone()))
            .ok_or_else(|| Fault::bug(format!("dpkg runs no `{name}`")))
    };
    let scripts = package.scripts.iter().map(script).collect::<Result<_>>()?;
    Ok(DebMetadata { control, conffiles: package.conffiles.clone(), scripts, triggers: Vec::new() })
}
