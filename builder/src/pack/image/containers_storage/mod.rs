//! An image store that nobody writes to: the images that a node has before it first starts.
//!
//! containers/storage, and with it CRI-O and podman, reads it beside its own (containers-storage.conf(5),
//! `additionalimagestores`):
//!
//! ```text
//! overlay-images/images.json          the images: names, top layer, documents
//! overlay-images/<image>/manifest     its documents; one that is named by digest is `=` and base64
//! overlay-layers/layers.json          the layers: parents, digests, ids
//! overlay/<layer>/diff/               a layer's files
//! overlay/<layer>/link                the short name, which keeps mount options short
//! overlay/<layer>/lower               short names of the layers below
//! overlay/l/<short> -> ../<layer>/diff
//! overlay-*/*.lock                    empty: what is read is locked
//! ```
//!
//! With a [`Mapping`], the files belong to the range of ids that containers run with. A container whose
//! mapping is the same then uses the layer as it is; otherwise the first start would copy every file. So the tree
//! must not lie on a disk that is written to: it is shipped as one file system ([`super::erofs`]).

use std::collections::{BTreeMap, BTreeSet};

use node::text::base64;
use oci_spec::image::{ImageConfiguration, ImageManifest};
use serde::Serialize;

use super::oci::WrittenLayer;
use crate::base::tree::{Memory, Node, Tree, TreePath};
use crate::base::{Digest, Epoch, Fault, Result, json};
use crate::plan::Mapping;

/// An image to put into the store.
#[derive(Clone, Debug)]
pub struct Stored<'a> {
    /// The name that it is asked for by: `registry.k8s.io/pause:3.1`.
    pub name: String,
    /// The manifest's bytes.
    pub manifest: &'a [u8],
    /// The config's bytes.
    pub config: &'a [u8],
    /// The layers and what is in them, from the bottom up.
    pub layers: Vec<(WrittenLayer, &'a Tree)>,
}

/// Lays out the store's tree and its documents; the layers' contents stay where they are. An image whose documents
/// and layers disagree is refused.
pub fn write(images: &[Stored], mapping: Option<Mapping>, epoch: Epoch) -> Result<(Tree, Memory)> {
    let mut store =
        Store { mapping, epoch, tree: Tree::new(), memory: Memory::default(), layers: Vec::new() };
    let (mut records, mut names) = (Vec::new(), BTreeSet::new());
    for image in images {
        if !names.insert(&image.name) {
            return Err(Fault::user(format!("two images called {}", image.name)));
        }
        check(image)
            .and_then(|()| store.image(image))
            .map(|record| records.push(record))
            .map_err(|fault| fault.context(&image.name))?;
    }
    let layers = std::mem::take(&mut store.layers);
    for (kind, document) in [("images", json::canonical(&records)?), ("layers", json::canonical(&layers)?)] {
        store.file(&format!("overlay-{kind}/{kind}.json"), document)?;
        store.file(&format!("overlay-{kind}/{kind}.lock"), Vec::new())?;
    }
    Ok((store.tree, store.memory))
}

/// Manifest, config and layers must say the same (OCI image spec: manifest.md, config.md "rootfs").
fn check(image: &Stored) -> Result<()> {
    let read = |error: oci_spec::OciSpecError| Fault::integrity("not an OCI image").cause(error);
    let manifest = ImageManifest::from_reader(image.manifest).map_err(read)?;
    let config = ImageConfiguration::from_reader(image.config).map_err(read)?;
    let same = |what: &str, expected: Vec<String>, found: Vec<String>| {
        if expected == found {
            return Ok(());
        }
        Err(Fault::integrity(what).expected_found(expected.join(", "), found.join(", ")))
    };
    same(
        "the manifest names another config",
        vec![Digest::of(image.config).to_string()],
        vec![manifest.config().digest().to_string()],
    )?;
    same(
        "the manifest names other layers",
        image.layers.iter().map(|(layer, _)| format!("{} of {} bytes", layer.content, layer.size)).collect(),
        manifest
            .layers()
            .iter()
            .map(|layer| format!("{} of {} bytes", layer.digest(), layer.size()))
            .collect(),
    )?;
    same(
        "the image's config disagrees with its layers",
        image.layers.iter().map(|(layer, _)| layer.diff_id.to_string()).collect(),
        config.rootfs().diff_ids().clone(),
    )
}

struct Store {
    mapping: Option<Mapping>,
    epoch: Epoch,
    tree: Tree,
    memory: Memory,
    layers: Vec<LayerRecord>,
}

/// One entry of layers.json, in containers/storage's words.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct LayerRecord {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    created: String,
    compressed_diff_digest: Digest,
    compressed_size: u64,
    diff_digest: Digest,
    diff_size: u64,
    /// 2 is gzip.
    compression: u32,
    uidset: BTreeSet<u32>,
    gidset: BTreeSet<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    uidmap: Vec<MapRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gidmap: Vec<MapRecord>,
}

#[derive(Clone, Serialize)]
struct MapRecord {
    container_id: u32,
    host_id: u32,
    size: u32,
}

/// One entry of images.json.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ImageRecord {
    id: String,
    digest: Digest,
    names: Vec<String>,
    layer: Option<String>,
    created: String,
    big_data_names: Vec<String>,
    big_data_sizes: BTreeMap<String, u64>,
    big_data_digests: BTreeMap<String, Digest>,
}

impl Store {
    fn image(&mut self, image: &Stored) -> Result<ImageRecord> {
        let mut chain: Vec<String> = Vec::new();
        for (layer, tree) in &image.layers {
            let id = layer_id(chain.last(), layer);
            self.layer(&id, layer, tree, &chain)?;
            chain.push(id);
        }
        let (manifest, config) = (Digest::of(image.manifest), Digest::of(image.config));
        let mut record = ImageRecord {
            id: config.hex(),
            digest: manifest,
            names: vec![image.name.clone()],
            layer: chain.last().cloned(),
            created: self.epoch.rfc3339(),
            big_data_names: Vec::new(),
            big_data_sizes: BTreeMap::new(),
            big_data_digests: BTreeMap::new(),
        };
        for (key, bytes) in [
            (config.to_string(), image.config),
            (format!("manifest-{manifest}"), image.manifest),
            ("manifest".to_owned(), image.manifest),
        ] {
            self.file(&format!("overlay-images/{}/{}", record.id, document_name(&key)), bytes.to_vec())?;
            record.big_data_sizes.insert(key.clone(), bytes.len() as u64);
            record.big_data_digests.insert(key.clone(), Digest::of(bytes));
            record.big_data_names.push(key);
        }
        Ok(record)
    }

    /// Puts a layer's files and its record there, unless another image has brought it already.
    fn layer(&mut self, id: &str, layer: &WrittenLayer, files: &Tree, below: &[String]) -> Result<()> {
        if self.layers.iter().any(|other| other.id == id) {
            return Ok(());
        }
        let top = TreePath::new(format!("overlay/{id}/diff"))?;
        self.tree.insert(top.clone(), self.mapped(&Node::dir(0o755))?)?;
        let (mut uidset, mut gidset) = (BTreeSet::from([0]), BTreeSet::from([0]));
        for (path, node) in files.iter() {
            uidset.insert(node.uid);
            gidset.insert(node.gid);
            let node = self.mapped(node).map_err(|fault| fault.context(path))?;
            self.tree.insert(top.join(path.as_str())?, node)?;
        }
        self.file(&format!("overlay/{id}/link"), short(id).into_bytes())?;
        if !below.is_empty() {
            let lower: Vec<_> = below.iter().rev().map(|id| format!("l/{}", short(id))).collect();
            self.file(&format!("overlay/{id}/lower"), lower.join(":").into_bytes())?;
        }
        let link = TreePath::new(format!("overlay/l/{}", short(id)))?;
        self.tree.insert(link, Node::symlink(format!("../{id}/diff")))?;
        let map = |Mapping { first, count }| MapRecord { container_id: 0, host_id: first, size: count };
        let map: Vec<_> = self.mapping.map(map).into_iter().collect();
        self.layers.push(LayerRecord {
            id: id.to_owned(),
            parent: below.last().cloned(),
            created: self.epoch.rfc3339(),
            compressed_diff_digest: layer.content,
            compressed_size: layer.size,
            diff_digest: layer.diff_id,
            diff_size: layer.diff_size,
            compression: 2,
            uidset,
            gidset,
            uidmap: map.clone(),
            gidmap: map,
        });
        Ok(())
    }

    fn mapped(&self, node: &Node) -> Result<Node> {
        let Some(Mapping { first, count }) = self.mapping else { return Ok(node.clone()) };
        let id = |id: u32| match first.checked_add(id) {
            Some(there) if id < count => Ok(there),
            _ => Err(Fault::integrity("an owner outside of the containers' range")
                .expected_found(format!("below {count}"), id)),
        };
        Ok(node.clone().owned_by(id(node.uid)?, id(node.gid)?))
    }

    fn file(&mut self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let node = self.memory.file(bytes, 0o644);
        self.tree.insert(TreePath::new(path)?, node)
    }
}

/// A layer's id: that of what it holds, and for all but the lowest of what lies below it. A store that
/// pulls the same image gives it the same.
fn layer_id(below: Option<&String>, layer: &WrittenLayer) -> String {
    match below {
        None => layer.diff_id.hex(),
        Some(below) => Digest::of(format!("{below}+{}", layer.diff_id.hex())).hex(),
    }
}

/// A layer's short name: 26 letters and digits, as containers/storage's own.
fn short(id: &str) -> String {
    id.chars().take(26).collect::<String>().to_uppercase()
}

/// The file's name of an image's document: its key if that is plain, else `=` and base64.
fn document_name(key: &str) -> String {
    let plain = |c: char| c == '.' || c.is_ascii_digit() || c.is_ascii_lowercase();
    if key.chars().all(plain) { key.to_owned() } else { format!("={}", base64::encode(key.as_bytes())) }
}

#[cfg(test)]
mod tests;
