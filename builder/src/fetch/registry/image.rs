//! An image's documents: the index, the manifest and the config (OCI image spec). Whatever two readers
//! could read in two ways is refused.

use serde::Deserialize;

use crate::base::name::Arch;
use crate::base::tree::Contents;
use crate::base::{Digest, Fault, Result};

/// Media types of indexes and of manifests, OCI's own and Docker's.
pub(super) const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
pub(super) const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
/// Longest manifest and config in bytes, which the spec asks registries to take at least.
pub(super) const DOCUMENT: u64 = 4 << 20;
/// Most layers: overlayfs takes no more.
pub(super) const LAYERS: usize = 128;

/// What one platform's image is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The platform's manifest.
    pub manifest: Descriptor,
    /// The image's config.
    pub config: Descriptor,
    /// Its layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// A blob as a manifest names it (OCI image spec, descriptor.md).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    platform: Option<Platform>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

/// An index or a manifest, told apart only after a check that it is not both (CVE-2021-41190).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

pub(super) enum Meaning {
    Index(Vec<Descriptor>),
    Manifest { kind: String, config: Descriptor, layers: Vec<Descriptor> },
}

impl Document {
    /// Reads a document that was served or listed as `kind`.
    pub(super) fn read(bytes: &[u8], kind: Option<&str>) -> Result<Meaning> {
        let bad = |what: &str| Fault::integrity(format!("an image's document {what}"));
        let document: Self = serde_json::from_slice(bytes).map_err(|e| bad("cannot be read").cause(e))?;
        if document.schema_version != 2 {
            return Err(bad("has another schema").expected_found(2, document.schema_version));
        }
        let (meaning, kinds) = match (document.manifests, document.config, document.layers) {
            (Some(manifests), None, None) => (Meaning::Index(manifests), INDEXES),
            (None, Some(config), Some(layers)) if layers.len() <= LAYERS => {
                let kind = document.media_type.as_deref().or(kind).unwrap_or(MANIFESTS[0]).to_owned();
                (Meaning::Manifest { kind, config, layers }, MANIFESTS)
            }
            (None, Some(_), Some(layers)) => {
                return Err(bad("has too many layers").expected_found(LAYERS, layers.len()));
            }
            _ => return Err(bad("is neither an index nor a manifest")),
        };
        for says in [kind, document.media_type.as_deref()].into_iter().flatten() {
            if !kinds.contains(&says) {
                return Err(bad("is not what it calls itself").expected_found(kinds.join(" or "), says));
            }
        }
        Ok(meaning)
    }
}

/// The one manifest of an index that fits.
pub(super) fn choose(manifests: Vec<Descriptor>, arch: Arch) -> Result<Descriptor> {
    let (os, architecture) = ("linux", arch.as_str());
    let fits = |platform: &Platform| platform.os == os && platform.architecture == architecture;
    let mut fitting = manifests.into_iter().filter(|manifest| manifest.platform.as_ref().is_some_and(fits));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        (first, _) => {
            let found = if first.is_none() { "none" } else { "several" };
            Err(Fault::integrity("an image's index")
                .expected_found(format!("one manifest for {os}/{architecture}"), found))
        }
    }
}

/// The parts of a pulled image, from its pinned index or manifest.
pub fn parts(contents: &dyn Contents, pinned: &Digest, arch: Arch) -> Result<Parts> {
    let bytes = contents.read(pinned)?;
    match Document::read(&bytes, None)? {
        Meaning::Manifest { kind, config, layers } => {
            let size = bytes.len() as u64;
            let manifest = Descriptor { media_type: kind, digest: *pinned, size, platform: None };
            Ok(Parts { manifest, config, layers })
        }
        Meaning::Index(manifests) => {
            let manifest = choose(manifests, arch)?;
            let bytes = contents.read(&manifest.digest)?;
            match Document::read(&bytes, Some(&manifest.media_type))? {
                Meaning::Manifest { config, layers, .. } => Ok(Parts { manifest, config, layers }),
                Meaning::Index(_) => Err(Fault::integrity("an image's index within an index")),
            }
        }
    }
}

/// A config names as many layers as the manifest.
pub(super) fn check_config(bytes: &[u8], layers: usize) -> Result<()> {
    #[derive(Deserialize)]
    struct Config {
        rootfs: RootFs,
    }
    #[derive(Deserialize)]
    struct RootFs {
        diff_ids: Vec<Digest>,
    }
    let config: Config = serde_json::from_slice(bytes)
        .map_err(|e| Fault::integrity("an image's config cannot be read").cause(e))?;
    let found = config.rootfs.diff_ids.len();
    if found != layers {
        return Err(Fault::integrity("an image's config and manifest disagree")
            .expected_found(format!("{layers} layers"), format!("{found} diff_ids")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_that_could_be_read_in_two_ways_are_refused() {
        let digest = Digest::of("x");
        let part = |kind: &str| format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":1}}"#);
        let manifest = format!(r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#, part("c"), part("l"));
        assert!(Document::read(manifest.as_bytes(), Some(MANIFESTS[1])).is_ok());
        assert!(Document::read(manifest.as_bytes(), Some(INDEXES[0])).is_err());
        let layers = vec![part("l"); LAYERS + 1].join(",");
        let long = format!(r#"{{"schemaVersion":2,"config":{},"layers":[{layers}]}}"#, part("c"));
        let both = manifest.replace("}]}", "}],\"manifests\":[]}");
        let escape = manifest.replace(&digest.to_string(), "sha256:../../etc/passwd");
        let upper = manifest.replace(&digest.hex(), &digest.hex().to_uppercase());
        let old = manifest.replace(":2,", ":1,");
        let lies = manifest.replace("2,", &format!("2,\"mediaType\":\"{}\",", INDEXES[0]));
        for bad in
            [long, both, escape, upper, old, lies, "{}".to_owned(), "<html>".to_owned(), "[".repeat(100_000)]
        {
            let found = Document::read(bad.as_bytes(), None);
            assert!(found.is_err(), "{}", &bad[..bad.len().min(200)]);
        }
    }

    #[test]
    fn an_index_names_our_platform_exactly_once() {
        let one = |os: &str, architecture: &str| Descriptor {
            media_type: MANIFESTS[0].to_owned(),
            digest: Digest::of(architecture),
            size: 1,
            platform: Some(Platform { os: os.to_owned(), architecture: architecture.to_owned() }),
        };
        let list = || vec![one("windows", "amd64"), one("linux", "arm64"), one("linux", "amd64")];
        assert_eq!(choose(list(), Arch::Amd64).unwrap().digest, Digest::of("amd64"));
        assert!(choose([list(), list()].concat(), Arch::Amd64).is_err());
        assert!(choose(list()[..1].to_vec(), Arch::Amd64).is_err());
    }
}
