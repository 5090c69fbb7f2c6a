//! Images of ours: programs and their libraries become layers, the layers of a role one package.
//!
//! ```text
//! Debian's .debs --tools--> tree --closure--> layer ─┐
//! handed over --payload--> tree --closure--> layer ──┴─preload--> tree --deb--> hale-ROLE-images
//! ```

use std::collections::BTreeMap;

use super::supply::{ComponentsPlan, MissingComponent, Supply};
use super::{inputs, packing};
use crate::base::name::PackageName;
use crate::base::tree::TreePath;
use crate::base::{Fault, Result};
use crate::lock::Lock;
use crate::overlay::role_package;
use crate::plan::{ClosureStep, DebStep, Mapping, PreloadStep, Preloaded, StepId};
use crate::recipe::component::{BuiltImage, Component, Origin, Payload};
use crate::recipe::role::Role;
use crate::recipe::{Files, IMAGES, Recipe};
use crate::store::Store;

/// The file with the store of images; the overlay `images` mounts it and tells CRI-O where.
const PLACE: &str = "usr/lib/hale/images.erofs";

/// Plans the package with a role's images: its file's name and the step that makes it. Nothing when machines of
/// the role pull theirs, or when bytes are missing, which `planned` then says.
pub(crate) fn plan(
    files: &Files,
    recipe: &Recipe,
    role: &Role,
    lock: &Lock,
    store: &Store,
    planned: &mut ComponentsPlan,
) -> Result<Option<(TreePath, StepId)>> {
    let Some(package) = role_package::images(files, recipe, role, lock)? else { return Ok(None) };
    let (mut images, mut whole) = (BTreeMap::new(), true);
    for component in recipe.images(role) {
        let Some(image) = component.image() else { continue };
        let Some(tree) = layer(component, image, recipe, lock, store, planned)? else {
            whole = false;
            continue;
        };
        let version = lock.version_of(recipe, &component.name)?;
        let name = format!("{}/{}:{}", recipe.line.image_repository, image.name, image.tag(version));
        let preloaded = Preloaded {
            component: PackageName::new(image.name.as_str())?,
            version: version.clone(),
            license: component.license.clone(),
            entrypoint: image.entrypoint(),
            tree,
        };
        images.insert(name, preloaded);
    }
    if !whole {
        return Ok(None);
    }
    let plan = &mut planned.plan;
    let files = packing::files(plan, &package, store)?.1;
    let users = &recipe.site.users;
    let mapping = Mapping { first: users.first_id, count: users.count };
    let (at, arch, epoch) = (TreePath::new(PLACE)?, lock.arch, lock.epoch);
    let preload = PreloadStep { files, at, images, mapping, arch, epoch };
    let tree = plan.add(format!("preload {}", role.name), preload)?;
    let deb = DebStep { package: packing::metadata(&package)?, tree, epoch };
    let deb = plan.add(format!("deb {}", package.name), deb)?;
    let version = package.control.need("Version")?.parse()?;
    let file = TreePath::new(format!("{}_{version}_{arch}.deb", package.name))?;
    planned.packages.insert(package.name.clone(), version);
    Ok(Some((file, deb)))
}

/// Plans an image's one layer; nothing when its bytes are not here.
fn layer(
    component: &Component,
    image: &BuiltImage,
    recipe: &Recipe,
    lock: &Lock,
    store: &Store,
    planned: &mut ComponentsPlan,
) -> Result<Option<StepId>> {
    let name = &component.name;
    let tree = match (&component.from, lock.inputs.get(name)) {
        (Origin::Debian { .. }, None) if !inputs::are_fetched(lock, store, IMAGES)? => {
            let missing = MissingComponent {
                version: lock.version_of(recipe, name)?.clone(),
                why: "Debian's packages that it is made of were not fetched yet",
                help: format!("cargo xtask fetch {}", lock.line),
            };
            planned.note_missing(name, missing);
            return Ok(None);
        }
        (Origin::Debian { .. }, None) => inputs::tools(&mut planned.plan, lock, store, IMAGES)?,
        (_, Some(input)) => {
            let payload = |path: &TreePath| (path.clone(), Payload { from: Vec::new(), mode: 0o755 });
            let programs = image.programs.iter().map(payload).collect();
            let from = Supply { recipe, lock, store };
            let tree = from.payload(planned, component, input, &programs, BTreeMap::new())?;
            let Some(tree) = tree else { return Ok(None) };
            tree
        }
        (_, None) => return Err(Fault::bug(format!("the lock has no input `{name}`"))),
    };
    let closure = ClosureStep { tree, programs: image.programs.clone() };
    planned.plan.add(format!("closure {name}"), closure).map(Some)
}
