//! The read-only image store is what containers/storage reads: podman lists it, and a container lies on it
//! with nothing copied. It is mounted from one file, so nobody can write to it, its files' owner included.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use builder::base::name::{Arch, PackageName};
use builder::base::tree::{Kind, Memory, Node, Tree, TreePath, Union};
use builder::base::{Digest, Epoch};
use builder::pack::image::containers_storage::{self, Stored};
use builder::pack::image::erofs;
use builder::pack::image::oci::{self, ImageSpec, PackageLayer};
use builder::plan::Mapping;
use tests::forms::{sample, write_tree};
use tests::tools::{need_root, put, run, said, succeed, tool};

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

/// The store as a tree, and as the file system that is shipped.
fn write_store(dir: &Path) -> Vec<u8> {
    let (mut memory, epoch) = (Memory::default(), Epoch::new(1_763_201_230).unwrap());
    let trees = trees(&mut memory);
    let layers =
        trees.each_ref().map(|tree| oci::write_layer(tree, &memory, epoch, &mut std::io::sink()).unwrap());
    let packed =
        |layer| PackageLayer { package: PackageName::new("pause").unwrap(), version: "3.1".into(), layer };
    let image = ImageSpec {
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
    let (tree, own) = containers_storage::write(&[stored], Some(RANGE), epoch).unwrap();
    write_tree(&tree, &Union(&own, &memory), dir);
    for (path, node) in tree.iter() {
        std::os::unix::fs::lchown(dir.join(path.as_str()), Some(node.uid), Some(node.gid)).unwrap();
    }
    let mut image = Vec::new();
    erofs::write(&tree, &Union(&own, &memory), epoch, &mut image).unwrap();
    image
}

/// The unit that mounts the store on a node.
const UNIT: &str = include_str!("../../../overlays/images/usr/lib/systemd/system/usr-lib-hale-images.mount");

/// A file system mounted as the unit has it, until this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(file: &Path, at: &Path) -> Self {
        let word = |key: &str| UNIT.lines().find_map(|line| line.strip_prefix(key)).expect(key);
        std::fs::create_dir(at).unwrap();
        let mut mount = tool("mount", "mount");
        mount.args(["-t", word("Type="), "-o", word("Options=")]);
        succeed(mount.arg(file).arg(at));
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = tool("umount", "mount").arg("--lazy").arg(&self.0).status();
    }
}

/// The image's file system, mounted, and the same as a plain tree.
fn stores(scratch: &Path) -> (Mounted, PathBuf) {
    let (tree, file) = (scratch.join("tree"), scratch.join("images.erofs"));
    put(&file, write_store(&tree));
    (Mounted::new(&file, &scratch.join("images")), tree)
}

/// Changed: then the format of the step must be raised (`Step::Preload`), so that stores make it anew.
#[test]
fn the_bytes_are_known() {
    need_root();
    let scratch = tempfile::tempdir().unwrap();
    let image = write_store(scratch.path());
    assert_eq!(
        Digest::of(image).to_string(),
        "sha256:940b44af14e20cf766c573343c353df6770459f3552551f555ca3e960df83b9f"
    );
}

/// All that containers' root may be given of the host's, tried with every capability in its user namespace.
#[test]
fn the_owner_of_the_files_cannot_change_them() {
    need_root();
    let scratch = tempfile::tempdir().unwrap();
    let (mounted, tree) = stores(scratch.path());
    let acts = [
        "echo x > $f",
        "mv $f $f.old",
        "rm $f",
        "chmod 4777 $f",
        "chown 1:1 $f",
        "ln $f $f.2",
        "touch $(dirname $f)/new",
        "mount -o remount,rw $STORE",
        "mount -o remount,bind,rw $STORE",
    ];
    let attempt = |store: &Path, act: &str| {
        let script = format!("f=$(echo {0}/overlay/*/diff/pause); STORE={0}; {act}", store.display());
        let map = format!("0 {} {}\n", RANGE.first, RANGE.count);
        let mut attack = tool("python3", "python3");
        attack.args(["-c", ATTACK, &map, &script]);
        run(&mut attack)
    };
    std::fs::set_permissions(scratch.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for act in acts {
        let output = attempt(&mounted.0, act);
        assert!(!output.status.success() && !said(&output).contains("attack: "), "{act}: {}", said(&output));
    }
    // A plain tree of the same owners is theirs.
    let output =
        attempt(&tree, "test $(id -u) = 0 && chmod 700 $f && touch $(dirname $f)/new && echo x > $f");
    assert!(output.status.success(), "{}", said(&output));
}

/// Runs a script as root of a user namespace with a mount namespace of its own.
const ATTACK: &str = r#"
import os, subprocess, sys
asked, ready = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS) if hasattr(os, "unshare") else __import__("ctypes").CDLL(None).unshare(0x10020000)
    os.write(asked[1], b"x")
    os.read(ready[0], 1)
    os.setgid(0)
    os.setuid(0)
    os.execvp("sh", ["sh", "-ec", sys.argv[2]])
os.read(asked[0], 1)
for kind in ("uid", "gid"):
    try:
        with open(f"/proc/{child}/{kind}_map", "w") as file:
            file.write(sys.argv[1])
    except OSError as error:
        print("attack: ", error)
os.write(ready[1], b"x")
sys.exit(0 if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 else 1)
"#;

/// What its own tool and the kernel find in the file system: names in blocks of their own, a file of many blocks.
#[test]
fn a_tree_is_mounted_as_it_went_in() {
    need_root();
    let scratch = tempfile::tempdir().unwrap();
    let (mut tree, mut memory) = sample();
    tree.insert(TreePath::new("large").unwrap(), memory.file(vec![9; 3 << 20], 0o644)).unwrap();
    for number in 0..2000 {
        let path = TreePath::new(format!("many/-{number}")).unwrap();
        tree.insert(path, memory.file(number.to_string(), 0o600).owned_by(RANGE.first, number)).unwrap();
    }
    let (mut image, file) = (Vec::new(), scratch.path().join("image"));
    let epoch = Epoch::new(1_763_201_230).unwrap();
    erofs::write(&tree, &memory, epoch, &mut image).unwrap();
    put(&file, image);
    succeed(tool("fsck.erofs", "erofs-utils").arg(&file));
    let mounted = Mounted::new(&file, &scratch.path().join("mounted"));
    for (path, node) in tree.iter() {
        let at = mounted.0.join(path.as_str());
        let found = at.symlink_metadata().unwrap();
        let facts = (found.mode() & 0o7777, found.uid(), found.gid(), found.mtime());
        assert_eq!(facts, (node.mode.into(), node.uid, node.gid, epoch.seconds() as i64), "{path}");
        match &node.kind {
            Kind::Dir => assert!(found.is_dir(), "{path}"),
            Kind::File { content, .. } => {
                assert_eq!(Digest::of(std::fs::read(at).unwrap()), *content, "{path}")
            }
            Kind::Symlink { target } => assert_eq!(at.read_link().unwrap(), Path::new(target), "{path}"),
        }
    }
    assert_eq!(std::fs::read_dir(mounted.0.join("many")).unwrap().count(), 2000);
}

#[test]
fn podman_reads_the_store() {
    need_root();
    let scratch = tempfile::tempdir().unwrap();
    let (mounted, _) = stores(scratch.path());
    let store = &mounted.0;
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
