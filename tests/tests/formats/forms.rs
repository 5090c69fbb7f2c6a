//! A bundle's forms are one tree: the .deb as dpkg unpacks it, the image as umoci unpacks it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use builder::base::Epoch;
use builder::base::name::{Arch, PackageName};
use builder::base::tree::{Memory, Tree, TreePath};
use builder::formats::debian::control::Paragraph;
use builder::formats::debian::script::Script;
use builder::pack::image::oci::{self, ImageSpec, PackageLayer};
use builder::pack::package::deb::{self, DebSpec};
use tests::forms::{assert_same, of_debs, of_layout, of_tree, sample, write_tree};
use tests::tools::{is_root, prefixed, put, run, said, succeed, tool};

const EPOCH: u64 = 1_763_201_230;

fn write_deb(dir: &Path, tree: &Tree, memory: &Memory) -> PathBuf {
    let mut control = Paragraph::new();
    for (name, value) in [
        ("Package", "hale-sample"),
        ("Version", "1:1.17-1"),
        ("Architecture", "amd64"),
        ("Maintainer", "Hale <hale@localhost>"),
        ("Depends", "crun (= 1.8.1-1)"),
        ("Description", "everything that a role may hold\nin one package"),
    ] {
        control.set(name, value).unwrap();
    }
    let path = dir.join(deb::file_name(&control).unwrap());
    let scripts = BTreeMap::from([(Script::Postinst, "#!/bin/sh\nset -e\n".to_owned())]);
    let conffiles = BTreeSet::from([TreePath::new("etc/hale/node.toml").unwrap()]);
    let triggers = ["activate-noawait ldconfig".to_owned()];
    let deb =
        DebSpec { control: &control, conffiles: &conffiles, scripts: &scripts, triggers: &triggers, tree };
    let mut scratch = tempfile::tempfile().unwrap();
    let mut out = File::create(&path).unwrap();
    deb::write(&deb, memory, Epoch::new(EPOCH).unwrap(), &mut scratch, &mut out).unwrap();
    path
}

fn write_layout(dir: &Path, trees: &[&Tree], memory: &Memory) -> ImageSpec {
    let epoch = Epoch::new(EPOCH).unwrap();
    let mut layers = Vec::new();
    for (index, tree) in trees.iter().enumerate() {
        let mut bytes = Vec::new();
        let layer = oci::write_layer(tree, memory, epoch, &mut bytes).unwrap();
        put(dir.join("blobs/sha256").join(layer.content.hex()), bytes);
        let package = PackageName::new(format!("hale-{index}")).unwrap();
        layers.push(PackageLayer { package, version: "1.17-1".into(), layer });
    }
    let image = ImageSpec {
        title: "hale-sample".into(),
        version: "1.17-1".into(),
        description: None,
        licenses: None,
        arch: Arch::Amd64,
        entrypoint: Vec::new(),
        epoch,
        base: None,
        annotations: BTreeMap::new(),
        layers,
    };
    let (layout, documents) = oci::layout(&image).unwrap();
    let documents_only = Tree::try_from(
        layout
            .iter()
            .filter(|(path, _)| !dir.join(path.as_str()).is_file())
            .map(|(path, node)| (path.clone(), node.clone()))
            .collect::<BTreeMap<_, _>>(),
    );
    write_tree(&documents_only.unwrap(), &documents, dir);
    image
}

/// The sample cut in two packages, as a role's common and own parts are.
fn halves(tree: &Tree) -> (Tree, Tree) {
    let (mut lower, mut upper) = (Tree::new(), Tree::new());
    for (path, node) in tree.iter() {
        let half = if path.as_str().starts_with("var") { &mut upper } else { &mut lower };
        half.insert(path.clone(), node.clone()).unwrap();
    }
    (lower, upper)
}

#[test]
fn both_forms_are_one_tree() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, memory) = sample();
    let deb = write_deb(dir.path(), &tree, &memory);
    let (lower, upper) = halves(&tree);
    let image = write_layout(&dir.path().join("oci"), &[&lower, &upper], &memory);
    let promised = of_tree(&tree);
    let from_deb = of_debs([deb.as_path()]);
    let from_image = of_layout(&dir.path().join("oci"), &oci::reference(&image));
    assert_same("the tree", &promised, "the .deb", &from_deb);
    assert_same("the tree", &promised, "the image", &from_image);
    assert_eq!(promised.len(), tree.len());
}

#[test]
fn dpkg_reads_the_control_part() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, memory) = sample();
    let path = write_deb(dir.path(), &tree, &memory);
    let field = |name: &str| {
        let out = succeed(tool("dpkg-deb", "dpkg").arg("--field").arg(&path).arg(name));
        String::from_utf8(out).unwrap()
    };
    assert_eq!(field("Package"), "hale-sample\n");
    assert_eq!(field("Description"), "everything that a role may hold\n in one package\n");
    assert_eq!(field("Installed-Size"), format!("{}\n", deb::installed_size(&tree)));
    let control = dir.path().join("control");
    succeed(tool("dpkg-deb", "dpkg").arg("--control").arg(&path).arg(&control));
    let names: BTreeSet<_> = std::fs::read_dir(&control)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["conffiles", "control", "md5sums", "postinst", "triggers"].map(str::to_owned).into());
    assert_eq!(std::fs::read_to_string(control.join("conffiles")).unwrap(), "/etc/hale/node.toml\n");
    let root = dir.path().join("root");
    succeed(tool("dpkg-deb", "dpkg").arg("--extract").arg(&path).arg(&root));
    succeed(
        tool("md5sum", "coreutils")
            .args(["--check", "--strict"])
            .arg(control.join("md5sums"))
            .current_dir(&root),
    );
    // What another tool of Debian's makes of the outer archive.
    let members = succeed(tool("ar", "binutils").arg("t").arg(&path));
    assert_eq!(String::from_utf8(members).unwrap(), "debian-binary\ncontrol.tar.gz\ndata.tar.gz\n");
}

/// dpkg as root of a namespace, so that the test needs no root; only root's files can be made there.
fn dpkg(root: &Path) -> Command {
    let mut dpkg = if is_root() { tool("dpkg", "dpkg") } else { tool("unshare", "util-linux") };
    if !is_root() {
        dpkg.args(["--user", "--map-root-user", "dpkg"]);
    }
    dpkg.arg(prefixed("--root=", root)).args(["--force-bad-path", "--force-depends", "--log=/dev/null"]);
    dpkg
}

#[test]
fn dpkg_unpacks_and_verifies_the_package() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, memory) = sample();
    let roots: BTreeMap<_, _> =
        tree.iter().map(|(path, node)| (path.clone(), node.clone().owned_by(0, 0))).collect();
    let path = write_deb(dir.path(), &Tree::try_from(roots).unwrap(), &memory);
    let root = dir.path().join("root");
    for (file, text) in [("status", ""), ("available", ""), ("info/format", "1\n"), ("updates/.keep", "")] {
        put(root.join("var/lib/dpkg").join(file), text);
    }
    std::fs::remove_file(root.join("var/lib/dpkg/updates/.keep")).unwrap();
    succeed(dpkg(&root).arg("--unpack").arg(&path));
    let verify = || {
        let output = run(dpkg(&root).args(["--verify", "hale-sample"]));
        let said = said(&output);
        // The conffile waits for configuration under another name.
        said.lines()
            .filter(|line| !line.ends_with(" c /etc/hale/node.toml"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(verify(), [""; 0]);
    put(root.join("usr/bin/hale"), "changed");
    assert_eq!(verify(), ["??5??????   /usr/bin/hale"]);
}

#[test]
fn skopeo_takes_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, memory) = sample();
    let layout = dir.path().join("oci");
    let image = write_layout(&layout, &[&tree], &memory);
    let from = format!("oci:{}:{}", layout.display(), oci::reference(&image));
    let inspected = succeed(tool("skopeo", "skopeo").args(["inspect", &from]));
    let inspected: serde_json::Value = serde_json::from_slice(&inspected).unwrap();
    assert_eq!(inspected["Architecture"], "amd64");
    assert_eq!(inspected["Created"], "2025-11-15T10:07:10Z");
    assert_eq!(inspected["Layers"][0], image.layers[0].layer.content.to_string());
    // Copying checks every digest and length, and that the layers expand to their diff ids.
    let archive = dir.path().join("image.tar");
    succeed(
        tool("skopeo", "skopeo")
            .args(["--insecure-policy", "copy", &from])
            .arg(prefixed("docker-archive:", &archive)),
    );
    let blob = layout.join("blobs/sha256").join(image.layers[0].layer.content.hex());
    let mut bytes = std::fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let again = run(tool("skopeo", "skopeo")
        .args(["--insecure-policy", "copy", &from])
        .arg(prefixed("docker-archive:", &dir.path().join("again.tar"))));
    assert!(!again.status.success(), "skopeo takes a spoilt layer: {}", said(&again));
}
