//! The read-only image store is what containers/storage reads: podman lists it, and a container lies on it
//! with nothing copied.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use builder::base::Epoch;
use builder::base::name::{Arch, PackageName};
use builder::pack::imagestore::{self, Stored};
use builder::pack::oci::{self, Image, Packed};
use builder::pack::sink::Layered;
use builder::plan::Mapping;
use builder::tree::{Memory, Node, Tree, TreePath};
use tests::forms::write_tree;
use tests::tools::{need_root, succeed, tool};

const NAME: &str = "registry.example/pause:3.1";
const RANGE: Mapping = Mapping { first: 10_000_000, count: 65_536 };

/// Two layers, the upper of which owns a file and hides none.
fn trees(memory: &mut Memory) -> [Tree; 2] {
    let path = |text: &str| TreePath::new(text).unwrap();
    let (mut lower, mut upper) = (Tree::new(), Tree::new());
    lower.insert(path("pause"), memory.file("a program", 0o755)).unwrap();
    lower.insert(path("etc/passwd"), memory.file("root:x:0:0::/:\n", 0o644)).unwrap();
    upper.insert(path("var/lib/data"), memory.file("mine", 0o600).owned_by(1000, 65_535)).unwrap();
    upper.insert(path("bin"), Node::symlink("usr/bin")).unwrap();
    [lower, upper]
}

fn write_store(dir: &Path) {
    let (mut memory, epoch) = (Memory::default(), Epoch::new(1_763_201_230).unwrap());
    let trees = trees(&mut memory);
    let layers =
        trees.each_ref().map(|tree| oci::write_layer(tree, &memory, epoch, &mut std::io::sink()).unwrap());
    let packed = |layer| Packed { package: PackageName::new("pause").unwrap(), version: "3.1".into(), layer };
    let image = Image {
        title: "pause".into(),
        version: "3.1".into(),
        description: None,
        licenses: None,
        arch: Arch::Amd64,
        entrypoint: vec!["/pause".into()],
        epoch,
        base: None,
        annotations: Default::default(),
        layers: layers.map(packed).into(),
    };
    let documents = oci::documents(&image).unwrap();
    let stored = Stored {
        name: NAME.into(),
        manifest: &documents.manifest,
        config: &documents.config,
        layers: layers.into_iter().zip(&trees).collect(),
    };
    let (tree, own) = imagestore::write(&[stored], Some(RANGE), epoch).unwrap();
    write_tree(&tree, &Layered(&own, &memory), dir);
    for (path, node) in tree.iter() {
        std::os::unix::fs::lchown(dir.join(path.as_str()), Some(node.uid), Some(node.gid)).unwrap();
    }
}

#[test]
fn podman_reads_the_store() {
    need_root();
    let scratch = tempfile::tempdir().unwrap();
    let store = scratch.path().join("images");
    write_store(&store);
    let own = scratch.path().join("own");
    let podman = |arguments: &[&str]| {
        let mut podman = tool("podman", "podman");
        podman.arg("--root").arg(&own).arg("--runroot").arg(scratch.path().join("run"));
        podman.args(["--storage-driver=overlay", "--storage-opt"]);
        podman.arg(format!("additionalimagestore={}", store.display()));
        String::from_utf8(succeed(podman.args(arguments))).unwrap()
    };
    let listed: serde_json::Value = serde_json::from_str(&podman(&["images", "--format=json"])).unwrap();
    assert_eq!(listed[0]["Names"][0], NAME);
    assert_eq!(listed[0]["ReadOnly"], true);
    let inspected: serde_json::Value = serde_json::from_str(&podman(&["image", "inspect", NAME])).unwrap();
    assert_eq!(inspected[0]["Config"]["Entrypoint"][0], "/pause");
    assert_eq!(inspected[0]["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    // A container with the same mapping lies on the store's own layers: nothing is copied.
    let map = format!("0:{}:{}", RANGE.first, RANGE.count);
    podman(&["create", "--uidmap", &map, "--gidmap", &map, "--name=one", NAME]);
    let layers = std::fs::read(own.join("overlay-layers/layers.json")).unwrap();
    let layers: serde_json::Value = serde_json::from_slice(&layers).unwrap();
    assert_eq!(layers.as_array().unwrap().len(), 1, "only the container's own: {layers}");
    let mounted = podman(&["mount", "one"]);
    let data = Path::new(mounted.trim()).join("var/lib/data");
    assert_eq!(std::fs::read(&data).unwrap(), b"mine");
    let owner = data.metadata().unwrap();
    assert_eq!((owner.uid(), owner.gid()), (RANGE.first + 1000, RANGE.first + 65_535));
    podman(&["rm", "--force", "one"]);
}
