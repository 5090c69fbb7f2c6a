//! How a bundle came to be: an in-toto Statement v1 with SLSA's provenance v1 predicate
//! (in-toto.io/Statement/v1, slsa.dev/provenance/v1).
//!
//! It claims Build L1 and no more: the provenance exists. Level 2 wants a hosted builder that signs; a
//! program that people run on their own machines cannot say that of itself.

use serde_json::{Map, Value, json};

use super::manifest::{BundleContents, Input, PackageContents};
use crate::base::digest::Checksum;
use crate::base::tree::{Kind, Tree};
use crate::base::{Digest, Result, json};

/// Writes the document: `subjects` is the bundle's tree, `builder` the digest of the program that built it, as
/// far as it knows itself: of its sources.
pub fn document(bill: &BundleContents, subjects: &Tree, builder: &Digest) -> Result<Vec<u8>> {
    let dependencies: Vec<_> =
        bill.packages.iter().map(source).chain(bill.inputs.iter().map(input)).collect();
    json::pretty(&json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects.iter().filter_map(|(path, node)| subject(path.as_str(), &node.kind)).collect::<Vec<_>>(),
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://hale.invalid/build/v1",
                "externalParameters": {
                    "line": bill.line,
                    "role": bill.role,
                    "arch": bill.arch,
                    "recipe": bill.recipe,
                    "lock": bill.lock,
                },
                "internalParameters": { "epoch": bill.epoch.rfc3339() },
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {
                    "id": "https://hale.invalid/builder/local-l1",
                    "version": { "hale-builder": env!("CARGO_PKG_VERSION") },
                    "builderDependencies": [{ "name": "hale-builder", "digest": { "sha256": builder.hex() } }],
                },
            },
        },
    }))
}

fn subject(name: &str, kind: &Kind) -> Option<Value> {
    match kind {
        Kind::File { content, .. } => Some(json!({ "name": name, "digest": { "sha256": content.hex() } })),
        Kind::Dir | Kind::Symlink { .. } => None,
    }
}

fn source(packed: &PackageContents) -> Value {
    json!({
        "name": format!("{} {} (source)", packed.name, packed.version),
        "digest": digest(&packed.source),
        "annotations": { "from": packed.origin },
    })
}

fn input(input: &Input) -> Value {
    let mut descriptor = json!({ "name": format!("{} {}", input.name, input.version) });
    if let Some(checksum) = &input.checksum {
        descriptor["digest"] = digest(checksum);
    }
    if let Some(location) = &input.location {
        let key = if location.contains("://") { "uri" } else { "name" };
        descriptor[key] = location.as_str().into();
    }
    if input.local {
        descriptor["annotations"] = json!({ "local": true });
    }
    descriptor
}

fn digest(checksum: &Checksum) -> Value {
    let text = checksum.to_string();
    let (kind, hex) = text.split_once(':').unwrap_or(("", &text));
    Value::Object(Map::from_iter([(kind.to_owned(), hex.into())]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::document::manifest::tests::Sample;

    #[test]
    fn subjects_inputs_and_parameters_are_named() {
        let sample = Sample::new();
        let bytes = document(&sample.bill(), &sample.trees[0], &Digest::of("builder")).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["subject"].as_array().unwrap().len(), 1);
        assert_eq!(value["subject"][0]["digest"]["sha256"], Digest::of("a = 1\n").hex());
        let definition = &value["predicate"]["buildDefinition"];
        assert_eq!(definition["externalParameters"]["lock"], Digest::of("lock").to_string());
        let dependencies = definition["resolvedDependencies"].as_array().unwrap();
        assert_eq!(dependencies.len(), 4);
        assert_eq!(dependencies[0]["annotations"]["from"]["overlay"], "common");
        assert_eq!(dependencies[2]["name"], "pool/crun.deb");
        assert_eq!(dependencies[3]["annotations"]["local"], true);
        assert_eq!(dependencies[3]["digest"]["sha256"], Digest::of("cri-o").hex());
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.contains("L2") && !text.contains("L3") && text.contains("local-l1"));
    }
}
