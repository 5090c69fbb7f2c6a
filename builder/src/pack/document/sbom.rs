//! The bill of materials as SPDX 2.3 JSON (ISO/IEC 5962, spdx.github.io/spdx-spec/v2.3).
//!
//! All files of all packages are in it: the document describes the packages, a package contains its
//! files, was generated from its source, and depends on what the lock pins. What nobody has established,
//! such as a licence, is left out or said to be unknown, never guessed.

use std::io::{self, Read};

use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use super::manifest::{BundleContents, FileOrigin, Input, PackageContents};
use crate::base::digest::Checksum;
use crate::base::tree::{Contents, Kind, TreePath};
use crate::base::{Digest, Fault, Result, json};

/// Writes the document. `contents` is read once for each file, because SPDX asks for SHA-1 beside SHA-256.
pub fn document(bill: &BundleContents, contents: &dyn Contents) -> Result<Vec<u8>> {
    let (mut packages, mut files, mut relations) = (Vec::new(), Vec::new(), Vec::new());
    for packed in &bill.packages {
        let id = package_id(packed);
        let (held, sums) = held(packed, contents)?;
        relations.push(relation("SPDXRef-DOCUMENT", "DESCRIBES", &id));
        relations.push(relation(&id, "GENERATED_FROM", &source_id(packed)));
        relations.extend(
            held.iter().map(|file| relation(&id, "CONTAINS", file["SPDXID"].as_str().unwrap_or_default())),
        );
        relations.extend(bill.inputs.iter().map(|input| relation(&id, "DEPENDS_ON", &input_id(input))));
        packages.push(package(packed, &id, sums));
        packages.push(source(packed));
        files.extend(held);
    }
    packages.extend(bill.inputs.iter().map(input));
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("hale-{}-{}", bill.role, bill.line),
        "creationInfo": {
            "created": bill.epoch.rfc3339(),
            "creators": [concat!("Tool: hale-builder-", env!("CARGO_PKG_VERSION"))],
        },
        "packages": packages,
        "files": files,
        "relationships": relations,
    });
    // The namespace must be another one for every other document: the document's own digest sees to it.
    let namespace = format!("https://hale.invalid/spdx/{}", Digest::of(json::canonical(&document)?).hex());
    document["documentNamespace"] = namespace.into();
    json::pretty(&document)
}

/// A package's files, and their SHA-1 sums.
fn held(packed: &PackageContents, contents: &dyn Contents) -> Result<(Vec<Value>, Vec<String>)> {
    let (mut files, mut sums) = (Vec::new(), Vec::new());
    for (path, node) in packed.tree.iter() {
        let Kind::File { content, .. } = &node.kind else { continue };
        let sum = sha1(path, contents.open(content)?)?;
        files.push(json!({
            "SPDXID": file_id(packed, path),
            "fileName": format!("./{path}"),
            "checksums": [
                { "algorithm": "SHA1", "checksumValue": sum },
                { "algorithm": "SHA256", "checksumValue": content.hex() },
            ],
        }));
        sums.push(sum);
    }
    Ok((files, sums))
}

fn package(packed: &PackageContents, id: &str, mut sums: Vec<String>) -> Value {
    let mut package = json!({
        "SPDXID": id,
        "name": packed.name,
        "versionInfo": packed.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": !sums.is_empty(),
        "checksums": [{ "algorithm": "SHA256", "checksumValue": packed.deb.0.hex() }],
        "primaryPackagePurpose": "INSTALL",
    });
    // Section 7.9: SHA-1 of the files' sorted SHA-1 sums, one after another.
    sums.sort();
    if !sums.is_empty() {
        package["packageVerificationCode"] =
            json!({ "packageVerificationCodeValue": hex(&Sha1::digest(sums.concat())) });
    }
    package
}

/// What a package's files were made from.
fn source(packed: &PackageContents) -> Value {
    let name = match &packed.origin {
        FileOrigin::Overlay(overlay) => format!("overlays/{overlay}"),
        FileOrigin::Component(component) => component.to_string(),
        FileOrigin::Program(program) => format!("{program} (source)"),
    };
    json!({
        "SPDXID": source_id(packed),
        "name": name,
        "versionInfo": packed.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "checksums": [checksum(&packed.source)],
        "primaryPackagePurpose": "SOURCE",
    })
}

fn input(input: &Input) -> Value {
    let mut package = json!({
        "SPDXID": input_id(input),
        "name": input.name,
        "versionInfo": input.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
    });
    match &input.location {
        Some(url) if url.contains("://") => package["downloadLocation"] = url.as_str().into(),
        Some(path) => package["packageFileName"] = path.as_str().into(),
        None => {}
    }
    if let Some(sum) = &input.checksum {
        package["checksums"] = json!([checksum(sum)]);
    }
    if input.local {
        package["comment"] = "Handed over with `input add`: no publisher vouches for it.".into();
    }
    package
}

fn checksum(checksum: &Checksum) -> Value {
    let text = checksum.to_string();
    let (kind, hex) = text.split_once(':').unwrap_or(("", &text));
    json!({ "algorithm": kind.to_uppercase(), "checksumValue": hex })
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

fn package_id(packed: &PackageContents) -> String {
    format!("SPDXRef-Package-{}", id_text(packed.name.as_str()))
}

fn source_id(packed: &PackageContents) -> String {
    format!("SPDXRef-Source-{}", id_text(packed.name.as_str()))
}

fn input_id(input: &Input) -> String {
    format!("SPDXRef-Input-{}", id_text(&input.name))
}

fn file_id(packed: &PackageContents, path: &TreePath) -> String {
    format!("SPDXRef-File-{}", &Digest::of(format!("{}/{path}", packed.name)).hex()[..32])
}

/// Identifiers are of letters, digits, `.` and `-` (section 3.2 of annex D); `+` is spelt out.
fn id_text(name: &str) -> String {
    name.replace('+', "-plus").replace(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-', "-")
}

fn sha1(path: &TreePath, mut content: impl Read) -> Result<String> {
    let mut hasher = Sha1::new();
    io::copy(&mut content, &mut hasher)
        .map_err(|error| Fault::integrity(format!("cannot read {path}")).cause(error))?;
    Ok(hex(&hasher.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::pack::document::manifest::tests::Sample;

    #[test]
    fn every_file_leads_to_the_lock() {
        let sample = Sample::new();
        let bytes = document(&sample.bill(), &sample.memory).unwrap();
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        let all = |key: &str| document[key].as_array().unwrap().clone();
        let text = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
        let relations: BTreeSet<_> = all("relationships")
            .iter()
            .map(|r| (text(r, "spdxElementId"), text(r, "relationshipType"), text(r, "relatedSpdxElement")))
            .collect();
        let expected: usize = sample
            .trees
            .iter()
            .map(|tree| tree.iter().filter(|(_, node)| matches!(node.kind, Kind::File { .. })).count())
            .sum();
        assert_eq!(all("files").len(), expected);
        for file in all("files") {
            let id = text(&file, "SPDXID");
            let holder = relations.iter().find(|(_, kind, to)| kind == "CONTAINS" && *to == id).unwrap();
            for kind in ["GENERATED_FROM", "DEPENDS_ON"] {
                assert!(
                    relations.iter().any(|(from, other, _)| *from == holder.0 && other == kind),
                    "{id}: {kind}"
                );
            }
        }
        let ids: Vec<_> =
            all("files").iter().chain(&all("packages")).map(|item| text(item, "SPDXID")).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        for (from, _, to) in relations {
            let known = |id: &String| id == "SPDXRef-DOCUMENT" || ids.contains(id);
            assert!(known(&from) && known(&to), "{from} {to}");
        }
    }

    #[test]
    fn sums_and_origins_are_told() {
        let sample = Sample::new();
        let text = String::from_utf8(document(&sample.bill(), &sample.memory).unwrap()).unwrap();
        // `printf 'a = 1\n' | sha1sum`, and the sum of that sum as a package's verification code.
        for part in [
            "31bd2185b0feac6e0c3da31b83b83819ef32a9a6",
            "257e8e54a12d9eec72f359493f112f585a018431",
            "\"created\": \"2025-11-15T10:07:10Z\"",
            "\"packageFileName\": \"pool/crun.deb\"",
            "Handed over with `input add`",
            "https://hale.invalid/spdx/",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert_eq!(text.as_bytes(), document(&sample.bill(), &sample.memory).unwrap());
        let mut other = sample.bill();
        other.inputs.pop();
        let other = String::from_utf8(document(&other, &sample.memory).unwrap()).unwrap();
        let namespace =
            |text: &str| text.lines().find(|line| line.contains("documentNamespace")).map(str::to_owned);
        assert_ne!(namespace(&text), namespace(&other));
    }
}
