//! A master whose images are no part of it: they lie on its disk as they were shipped, and are imported at its
//! first boot, before the bootstrap. What that costs is what a read-only store saves.

use std::collections::BTreeMap;

use builder::base::name::Arch;
use builder::base::tree::{Contents, Kind, Memory, Node, Tree, TreePath};
use builder::base::{Epoch, Fault, Result};
use builder::pack::image::oci;
use builder::plan::{Plan, PreloadStep, Preloaded, Step};
use tests::system::TestSystem;

/// CRI-O's settings for the read-only store, and the line that names it.
const SETTINGS: &str = "etc/crio/crio.conf.d/20-images.conf";
const STORE_LINE: &str = "storage_option";
/// What mounts the store.
const MOUNT: &str = "usr/lib/systemd/system/usr-lib-hale-images.mount";
const MOUNT_WANTED: &str = "etc/systemd/system/crio.service.requires/usr-lib-hale-images.mount";
/// Where the shipped images lie.
const SHIPPED: &str = "usr/lib/trial/images";
/// The unit that imports them.
const UNIT: &str = "etc/systemd/system/hale-trial-import.service";
const WANTED: &str = "etc/systemd/system/multi-user.target.wants/hale-trial-import.service";

/// The root without its store of images, and with what imports them.
pub(crate) fn at_first_boot(system: &TestSystem, plan: &Plan, tree: Tree) -> Result<Tree> {
    // skopeo is no part of a node, and its configuration is ours.
    let mut tree = TestSystem::new()?.beside(tree, &["golang-github-containers-common"])?;
    let preload = plan.iter().find_map(|(_, planned)| match &planned.step {
        Step::Preload(PreloadStep { at, images, arch, epoch, .. }) => Some((at, images, *arch, *epoch)),
        _ => None,
    });
    let (at, images, arch, epoch) = preload.ok_or_else(|| Fault::user("the role has no images of ours"))?;
    for path in [at.clone(), TreePath::new(MOUNT)?, TreePath::new(MOUNT_WANTED)?] {
        tree.remove(&path).ok_or_else(|| Fault::bug(format!("the root has no {path}")))?;
    }
    let mut own = Memory::default();
    let Some(Node { kind: Kind::File { content, .. }, .. }) = tree.get(SETTINGS) else {
        return Err(Fault::bug(format!("the root has no {SETTINGS}")));
    };
    let settings = String::from_utf8(system.store.read(content)?).expect("settings are text");
    let settings: String = settings
        .lines()
        .filter(|line| !line.starts_with(STORE_LINE))
        .map(|line| format!("{line}\n"))
        .collect();
    tree.replace(TreePath::new(SETTINGS)?, own.file(settings, 0o644))?;
    tree.insert(TreePath::new(UNIT)?, own.file(unit(images), 0o644))?;
    tree.insert(TreePath::new(WANTED)?, Node::symlink(format!("/{UNIT}")))?;
    for image in images.values() {
        let (layout, documents) = shipped(system, image, arch, epoch)?;
        for (path, node) in layout.iter() {
            tree.insert(TreePath::new(format!("{SHIPPED}/{}/{path}", image.component))?, node.clone())?;
        }
        system.store.put_all(&documents)?;
    }
    system.store.put_all(&own)?;
    Ok(tree)
}

fn unit(images: &BTreeMap<String, Preloaded>) -> String {
    let copy = |(name, image): (&String, &Preloaded)| {
        format!(
            "ExecStart=/usr/bin/skopeo copy -q oci:/{SHIPPED}/{} containers-storage:{name}\n",
            image.component
        )
    };
    let copies: String = images.iter().map(copy).collect();
    format!(
        "[Unit]\nDescription=Imports images\nAfter=local-fs.target\nBefore=hale-bootstrap.service\n\n\
         [Service]\nType=oneshot\nTimeoutStartSec=infinity\n{copies}\n[Install]\nWantedBy=multi-user.target\n"
    )
}

/// An image as an OCI layout.
fn shipped(system: &TestSystem, image: &Preloaded, arch: Arch, epoch: Epoch) -> Result<(Tree, Memory)> {
    let output = system.store.output(&image.tree)?.ok_or_else(|| Fault::bug("an image that was not made"))?;
    let (tree, mut writer) = (system.store.tree(&output.digest())?, system.store.writer()?);
    let layer = oci::write_layer(&tree, &system.store, epoch, &mut writer)?;
    writer.commit()?;
    oci::layout(&oci::ImageSpec::preloaded(image, layer, arch, epoch))
}
