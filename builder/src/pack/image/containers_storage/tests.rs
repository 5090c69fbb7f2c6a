use super::*;
use crate::base::Class;
use crate::base::name::{Arch, PackageName};
use crate::base::tree::{Contents, Kind};
use crate::pack::image::oci::{self, Documents, ImageSpec, PackageLayer};

fn tree(text: &str, uid: u32) -> (Tree, Memory) {
    let (mut tree, mut memory) = (Tree::new(), Memory::default());
    tree.insert(TreePath::new("pause").unwrap(), memory.file(text, 0o755).owned_by(uid, 0)).unwrap();
    (tree, memory)
}

fn epoch() -> Epoch {
    Epoch::new(1_763_201_230).unwrap()
}

fn layer((tree, memory): &(Tree, Memory)) -> WrittenLayer {
    oci::write_layer(tree, memory, epoch(), &mut std::io::sink()).unwrap()
}

fn documents(layers: &[WrittenLayer]) -> Documents {
    let packed = |layer: &WrittenLayer| PackageLayer {
        package: PackageName::new("pause").unwrap(),
        version: "3.1".into(),
        layer: *layer,
    };
    let image = ImageSpec {
        title: "pause".into(),
        version: "3.1".into(),
        description: None,
        licenses: None,
        arch: Arch::Amd64,
        entrypoint: vec!["/pause".into()],
        epoch: epoch(),
        base: None,
        annotations: BTreeMap::new(),
        layers: layers.iter().map(packed).collect(),
    };
    oci::documents(&image).unwrap()
}

fn stored<'a>(name: &str, documents: &'a Documents, layers: Vec<(WrittenLayer, &'a Tree)>) -> Stored<'a> {
    Stored { name: name.into(), manifest: &documents.manifest, config: &documents.config, layers }
}

const RANGE: Mapping = Mapping { first: 10_000_000, count: 65_536 };

#[test]
fn layers_are_shared_mapped_and_chained() {
    let (lower, upper) = (tree("lower", 0), tree("upper", 7));
    let (low, up) = (layer(&lower), layer(&upper));
    let (one, two) = (documents(&[low]), documents(&[low, up]));
    let images = [
        stored("one:1", &one, vec![(low, &lower.0)]),
        stored("two:1", &two, vec![(low, &lower.0), (up, &upper.0)]),
    ];
    let (tree, own) = write(&images, Some(RANGE), epoch()).unwrap();
    let read = |path: &str| {
        let Some(Kind::File { content, .. }) = tree.get(path).map(|node| &node.kind) else {
            panic!("{path}")
        };
        String::from_utf8(own.read(content).unwrap()).unwrap()
    };
    let chain = Digest::of(format!("{}+{}", low.diff_id.hex(), up.diff_id.hex())).hex();
    let layers: serde_json::Value = serde_json::from_str(&read("overlay-layers/layers.json")).unwrap();
    assert_eq!(layers.as_array().unwrap().len(), 2);
    assert_eq!((&layers[1]["id"], &layers[1]["parent"]), (&chain.clone().into(), &low.diff_id.hex().into()));
    assert_eq!(layers[1]["uidset"], serde_json::json!([0, 7]));
    assert_eq!(layers[1]["uidmap"][0]["host_id"], RANGE.first);
    assert_eq!(read(&format!("overlay/{chain}/lower")), format!("l/{}", short(&low.diff_id.hex())));
    let node = tree.get(&format!("overlay/{chain}/diff/pause")).unwrap();
    assert_eq!((node.uid, node.gid), (RANGE.first + 7, RANGE.first));
    let images: serde_json::Value = serde_json::from_str(&read("overlay-images/images.json")).unwrap();
    assert_eq!((&images[1]["names"][0], &images[1]["layer"]), (&"two:1".into(), &chain.into()));
    assert_eq!(images[1]["digest"], Digest::of(&two.manifest).to_string());
    let id = Digest::of(&two.config).hex();
    assert_eq!(read(&format!("overlay-images/{id}/manifest")).as_bytes(), two.manifest);
}

#[test]
fn documents_that_disagree_are_refused() {
    let (good, other) = (tree("good", 0), tree("other", 0));
    let (layer_of_good, layer_of_other) = (layer(&good), layer(&other));
    let (right, wrong) = (documents(&[layer_of_good]), documents(&[layer_of_other]));
    let crossed = Documents { config: wrong.config.clone(), manifest: right.manifest.clone() };
    let text = String::from_utf8(right.manifest.clone()).unwrap();
    let liar = text.replace(&Digest::of(&right.config).to_string(), &Digest::of(&wrong.config).to_string());
    let lying = Documents { config: wrong.config.clone(), manifest: liar.into() };
    let broken = Documents { config: b"{}".to_vec(), manifest: right.manifest.clone() };
    for (documents, what) in [
        (&crossed, "the manifest names another config"),
        (&wrong, "the manifest names other layers"),
        (&lying, "the image's config disagrees with its layers"),
        (&broken, "not an OCI image"),
    ] {
        let images = [stored("a:1", documents, vec![(layer_of_good, &good.0)])];
        let fault = write(&images, None, epoch()).unwrap_err();
        assert!(fault.what() == format!("a:1: {what}") && fault.class() == Class::Integrity, "{fault}");
    }
    let twice = || stored("a:1", &right, vec![(layer_of_good, &good.0)]);
    let fault = write(&[twice(), twice()], None, epoch()).unwrap_err();
    assert_eq!(fault.what(), "two images called a:1");
}

#[test]
fn an_owner_that_no_container_has_is_refused() {
    let stranger = tree("x", RANGE.count);
    let layer = layer(&stranger);
    let documents = documents(&[layer]);
    let images = [stored("a:1", &documents, vec![(layer, &stranger.0)])];
    let fault = write(&images, Some(RANGE), epoch()).unwrap_err();
    assert_eq!(fault.what(), "a:1: pause: an owner outside of the containers' range");
    assert!(write(&images, None, epoch()).is_ok());
}

#[test]
fn names_of_documents() {
    for (key, name) in [
        ("manifest", "manifest"),
        ("sha256:ab", "=c2hhMjU2OmFi"),
        ("sha256:a", "=c2hhMjU2OmE="),
        ("sha256:", "=c2hhMjU2Og=="),
    ] {
        assert_eq!(document_name(key), name);
    }
}
