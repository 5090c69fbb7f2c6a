//! OCI images: one gzip layer per package, and the documents around the layers (OCI image spec 1.1).
//!
//! ```text
//! oci-layout                    {"imageLayoutVersion":"1.0.0"}
//! index.json                    one manifest, with its reference name
//! blobs/sha256/<manifest>       config and layers, by digest; the image's annotations
//! blobs/sha256/<config>         platform, layers' digests before compression, history
//! blobs/sha256/<layer>          gzip of tar: a package's tree
//! ```
//!
//! A layout is a [`Tree`] like any other: its layers are in the store already, its documents come with
//! it. All documents are canonical JSON, because oci-spec keeps annotations in hash maps.

use std::collections::BTreeMap;
use std::io::Write;

use oci_spec::image::{
    Arch as Architecture, ConfigBuilder, Descriptor, DescriptorBuilder, HistoryBuilder,
    ImageConfigurationBuilder, ImageIndexBuilder, ImageManifestBuilder, MediaType, OciLayoutBuilder, Os,
    PlatformBuilder, RootFsBuilder,
};
use oci_spec::{OciSpecError, image};
use serde::{Deserialize, Serialize};

use crate::base::digest::Hashing;
use crate::base::name::{Arch, PackageName};
use crate::base::tree::{Contents, Kind, Memory, Node, Tree, TreePath};
use crate::base::{Digest, Epoch, Fault, Result, json};
use crate::pack::stream::gzip::Gzip;
use crate::pack::stream::tar::{self, Style};
use crate::pack::written;
use crate::plan::Preloaded;

/// Where an image's programs are looked for.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A layer that has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenLayer {
    /// The digest of the compressed bytes: the blob's name.
    pub content: Digest,
    /// Length of the compressed bytes.
    pub size: u64,
    /// The digest of the archive before compression (`diff_id`).
    pub diff_id: Digest,
    /// Length of the archive before compression.
    pub diff_size: u64,
}

/// Writes a tree as a compressed layer. Refuses names that would delete files of layers below
/// (`.wh.`, layer.md, "Whiteouts").
pub fn write_layer(
    tree: &Tree,
    contents: &dyn Contents,
    epoch: Epoch,
    out: &mut dyn Write,
) -> Result<WrittenLayer> {
    if let Some((path, _)) = tree.iter().find(|(path, _)| path.file_name().starts_with(".wh.")) {
        return Err(Fault::user(format!("{path} would be a whiteout in a layer"))
            .expected_found("a name that does not start with `.wh.`", path.file_name()));
    }
    let mut archive = Hashing::new(written("a layer", Gzip::new(Hashing::new(out)))?);
    tar::write(tree, contents, epoch, Style::Layer, &mut archive)?;
    let (gzip, diff_id, diff_size) = archive.into_parts();
    let (content, size) = written("a layer", gzip.finish())?.finish();
    Ok(WrittenLayer { content, size, diff_id, diff_size })
}

/// A layer and the package whose tree it holds.
#[derive(Clone, Debug)]
pub struct PackageLayer {
    /// The package's name: the layer's title.
    pub package: PackageName,
    /// The package's version.
    pub version: String,
    /// The layer.
    pub layer: WrittenLayer,
}

/// An image to describe. What is not known is not said.
#[derive(Clone, Debug)]
pub struct ImageSpec {
    /// Title, and the first part of the reference name.
    pub title: String,
    /// Version, and the second part of the reference name.
    pub version: String,
    /// One sentence for people.
    pub description: Option<String>,
    /// Licences as an SPDX expression, if all are known.
    pub licenses: Option<String>,
    /// The machine; [`Arch::All`] is no platform.
    pub arch: Arch,
    /// What it runs, with its first arguments; nothing for an image that only carries files.
    pub entrypoint: Vec<String>,
    /// Creation time of the image and of each layer.
    pub epoch: Epoch,
    /// Name and manifest digest of the image that the layers belong on, if there is one.
    pub base: Option<(String, Digest)>,
    /// Annotations beside OCI's own, such as the lock's digest.
    pub annotations: BTreeMap<String, String>,
    /// Layers, lowest first.
    pub layers: Vec<PackageLayer>,
}

impl ImageSpec {
    /// Describes an image that is preloaded: one layer, on no other image.
    pub fn preloaded(image: &Preloaded, layer: WrittenLayer, arch: Arch, epoch: Epoch) -> Self {
        let (package, version) = (image.component.clone(), image.version.to_string());
        Self {
            title: package.to_string(),
            version: version.clone(),
            description: None,
            licenses: Some(image.license.clone()),
            arch,
            entrypoint: image.entrypoint.clone(),
            epoch,
            base: None,
            annotations: BTreeMap::new(),
            layers: vec![PackageLayer { package, version, layer }],
        }
    }
}

/// Describes an image: the layout's tree, and the contents of its documents. The layers' bytes are
/// named by digest and stay where they are.
pub fn layout(image: &ImageSpec) -> Result<(Tree, Memory)> {
    let (mut tree, mut memory) = (Tree::new(), Memory::default());
    for PackageLayer { layer, .. } in &image.layers {
        // Equal packages are equal layers; the second is there already.
        tree.replace(blob_path(&layer.content)?, Node::file(layer.content, layer.size, 0o644))?;
    }
    let Documents { config, manifest } = documents(image)?;
    let mut document = |bytes: Vec<u8>| -> Result<(Digest, u64)> {
        let node = memory.file(bytes, 0o644);
        let Kind::File { content, size } = node.kind else { return Err(Fault::bug("a document is no file")) };
        tree.replace(blob_path(&content)?, node)?;
        Ok((content, size))
    };
    document(config)?;
    let manifest = document(manifest)?;
    let index = index(image, manifest)?;
    let marker = described(OciLayoutBuilder::default().image_layout_version("1.0.0").build())?;
    tree.insert(TreePath::new("index.json")?, memory.file(index, 0o644))?;
    tree.insert(TreePath::new("oci-layout")?, memory.file(marker, 0o644))?;
    Ok((tree, memory))
}

/// What an image says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documents {
    /// Platform, program, and the layers before compression.
    pub config: Vec<u8>,
    /// Config and layers by digest.
    pub manifest: Vec<u8>,
}

/// Writes the image's config and manifest.
pub fn documents(image: &ImageSpec) -> Result<Documents> {
    let config = config(image)?;
    let manifest = manifest(image, (Digest::of(&config), config.len() as u64))?;
    Ok(Documents { config, manifest })
}

/// Returns the image's reference name, `TITLE-VERSION` with `_` for what a registry's tag cannot hold
/// (distribution spec, "Pulling manifests").
pub fn reference(image: &ImageSpec) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' };
    format!("{}-{}", image.title, image.version).chars().map(allowed).collect()
}

fn blob_path(content: &Digest) -> Result<TreePath> {
    TreePath::new(format!("blobs/sha256/{}", content.hex()))
}

/// The canonical bytes of one of oci-spec's documents.
fn described<T: Serialize>(document: std::result::Result<T, OciSpecError>) -> Result<Vec<u8>> {
    json::canonical(&built(document)?)
}

fn built<T>(part: std::result::Result<T, OciSpecError>) -> Result<T> {
    part.map_err(|error| Fault::bug("an OCI document cannot be made").cause(error))
}

fn descriptor(media_type: MediaType, (content, size): (Digest, u64)) -> Result<DescriptorBuilder> {
    let digest: image::Digest =
        content.to_string().parse().map_err(|e| Fault::bug("a digest OCI does not take").cause(e))?;
    Ok(DescriptorBuilder::default().media_type(media_type).digest(digest).size(size))
}

fn architecture(arch: Arch) -> Result<Architecture> {
    match arch {
        Arch::Amd64 => Ok(Architecture::Amd64),
        Arch::Arm64 => Ok(Architecture::ARM64),
        Arch::All => Err(Fault::user("an image is for one machine").expected_found("amd64 or arm64", "all")),
    }
}

fn config(image: &ImageSpec) -> Result<Vec<u8>> {
    let created = image.epoch.rfc3339();
    let history = image.layers.iter().map(|packed| {
        let by = format!("{} {}", packed.package, packed.version);
        built(HistoryBuilder::default().created(&created).created_by(by).build())
    });
    let diff_ids: Vec<_> = image.layers.iter().map(|packed| packed.layer.diff_id.to_string()).collect();
    let rootfs = built(RootFsBuilder::default().typ("layers").diff_ids(diff_ids).build())?;
    let mut config = ImageConfigurationBuilder::default();
    if !image.entrypoint.is_empty() {
        // A pod's command is looked for in the image's own PATH.
        let run = ConfigBuilder::default().entrypoint(image.entrypoint.clone()).env([PATH.to_owned()]);
        config = config.config(built(run.build())?);
    }
    let config = config
        .created(&created)
        .architecture(architecture(image.arch)?)
        .os(Os::Linux)
        .rootfs(rootfs)
        .history(history.collect::<Result<Vec<_>>>()?);
    described(config.build())
}

fn manifest(image: &ImageSpec, config: (Digest, u64)) -> Result<Vec<u8>> {
    let layer = |packed: &PackageLayer| -> Result<Descriptor> {
        let about = [
            (image::ANNOTATION_TITLE, packed.package.as_str()),
            (image::ANNOTATION_VERSION, packed.version.as_str()),
        ];
        let about = about.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect();
        let WrittenLayer { content, size, .. } = packed.layer;
        built(
            descriptor(MediaType::ImageLayerGzip, (content, size))?.annotations::<Annotations>(about).build(),
        )
    };
    let manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageManifest)
        .config(built(descriptor(MediaType::ImageConfig, config)?.build())?)
        .layers(image.layers.iter().map(layer).collect::<Result<Vec<_>>>()?)
        .annotations(annotations(image).into_iter().collect::<Annotations>());
    described(manifest.build())
}

fn annotations(image: &ImageSpec) -> BTreeMap<String, String> {
    let mut all = image.annotations.clone();
    let base = image.base.as_ref();
    let known = [
        (image::ANNOTATION_TITLE, Some(image.title.clone())),
        (image::ANNOTATION_VERSION, Some(image.version.clone())),
        (image::ANNOTATION_CREATED, Some(image.epoch.rfc3339())),
        (image::ANNOTATION_DESCRIPTION, image.description.clone()),
        (image::ANNOTATION_LICENSES, image.licenses.clone()),
        (image::ANNOTATION_BASE_IMAGE_NAME, base.map(|(name, _)| name.clone())),
        (image::ANNOTATION_BASE_IMAGE_DIGEST, base.map(|(_, digest)| digest.to_string())),
    ];
    all.extend(known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    all
}

fn index(image: &ImageSpec, manifest: (Digest, u64)) -> Result<Vec<u8>> {
    let platform = PlatformBuilder::default().architecture(architecture(image.arch)?).os(Os::Linux).build();
    let name = [(image::ANNOTATION_REF_NAME.to_owned(), reference(image))];
    let manifest = descriptor(MediaType::ImageManifest, manifest)?
        .platform(built(platform)?)
        .annotations(name.into_iter().collect::<Annotations>());
    let index = ImageIndexBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageIndex)
        .manifests(vec![built(manifest.build())?]);
    described(index.build())
}

/// oci-spec's type; its order never reaches an output, because every document is made canonical.
#[expect(clippy::disallowed_types, reason = "oci-spec takes no other")]
type Annotations = std::collections::HashMap<String, String>;

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tree: &Tree, memory: &Memory) -> ImageSpec {
        let epoch = Epoch::new(1_763_201_230).unwrap();
        let layer = write_layer(tree, memory, epoch, &mut std::io::sink()).unwrap();
        let packed = |name: &str| PackageLayer {
            package: PackageName::new(name).unwrap(),
            version: "1.17~1".into(),
            layer,
        };
        ImageSpec {
            title: "hale-master".into(),
            version: "1:1.17~1".into(),
            description: None,
            licenses: Some("MIT OR Apache-2.0".into()),
            arch: Arch::Amd64,
            entrypoint: Vec::new(),
            epoch,
            base: Some(("base".into(), Digest::of("base"))),
            annotations: (0..20).map(|n| (format!("hale.{n}"), n.to_string())).collect(),
            layers: vec![packed("hale-common"), packed("hale-master")],
        }
    }

    fn sample() -> (Tree, Memory) {
        let (mut tree, mut memory) = (Tree::new(), Memory::default());
        let node = memory.file("a = 1\n", 0o640).owned_by(0, 10_000_000);
        tree.insert(TreePath::new("etc/hale.conf").unwrap(), node).unwrap();
        (tree, memory)
    }

    #[test]
    fn a_layer_knows_its_bytes() {
        let (tree, memory) = sample();
        let mut bytes = Vec::new();
        let epoch = Epoch::new(0).unwrap();
        let layer = write_layer(&tree, &memory, epoch, &mut bytes).unwrap();
        let plain = flate2::read::GzDecoder::new(bytes.as_slice());
        let (diff_id, diff_size) = Digest::of_reader(plain).unwrap();
        assert_eq!(
            layer,
            WrittenLayer { content: Digest::of(&bytes), size: bytes.len() as u64, diff_id, diff_size }
        );
    }

    #[test]
    fn the_documents_say_what_is_known_and_nothing_else() {
        let (tree, memory) = sample();
        let image = image(&tree, &memory);
        let (layout, documents) = layout(&image).unwrap();
        let read = |path: &str| -> serde_json::Value {
            let Kind::File { content, .. } = layout.get(path).unwrap().kind else { panic!("{path}") };
            serde_json::from_slice(&documents.read(&content).unwrap()).unwrap()
        };
        let blob = |value: &serde_json::Value| {
            read(&format!("blobs/{}", value["digest"].as_str().unwrap().replace(':', "/")))
        };
        let entry = &read("index.json")["manifests"][0];
        assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "hale-master-1_1.17_1");
        let manifest = blob(entry);
        let about = &manifest["annotations"];
        assert_eq!(about["org.opencontainers.image.base.digest"], Digest::of("base").to_string());
        assert_eq!(about["org.opencontainers.image.created"], "2025-11-15T10:07:10Z");
        assert!(about.get("org.opencontainers.image.description").is_none());
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
        let config = blob(&manifest["config"]);
        assert_eq!(config["rootfs"]["diff_ids"][1], image.layers[1].layer.diff_id.to_string());
        assert_eq!(config["history"][0]["created_by"], "hale-common 1.17~1");
        // Layer, config, manifest, and the two files at the top; equal layers are one blob.
        assert_eq!(layout.iter().filter(|(_, node)| !node.is_dir()).count(), 5);
    }

    #[test]
    fn what_no_image_can_be_is_refused() {
        let (mut tree, mut memory) = sample();
        let mut image = image(&tree, &memory);
        image.arch = Arch::All;
        assert_eq!(layout(&image).unwrap_err().mismatch(), Some(("amd64 or arm64", "all")));
        tree.insert(TreePath::new("etc/.wh.passwd").unwrap(), memory.file("", 0o644)).unwrap();
        let fault = write_layer(&tree, &memory, image.epoch, &mut std::io::sink()).unwrap_err();
        assert!(fault.what().contains("etc/.wh.passwd would be a whiteout"), "{fault}");
    }

    #[test]
    fn golden() {
        let (tree, memory) = sample();
        for _ in 0..8 {
            let (layout, _) = layout(&image(&tree, &memory)).unwrap();
            assert_eq!(
                layout.digest().unwrap().hex(),
                "2f81801aab69f4eeec809821e20d279f5e306622a9a378df05ef9a100ad88408",
                "the bytes of every image changed: if that is meant, put the new digest here and say why in the commit"
            );
        }
    }
}
