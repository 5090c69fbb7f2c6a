//! Compares what runs with what was shipped: manifests, and the settings of kubelet, kube-proxy, CRI-O and their units.

use std::fs;

use crate::bootstrap::written;
use crate::fault::Result;
use crate::host::{Command, files};
use crate::kubernetes::context::Node;
use crate::kubernetes::kube_proxy;
use crate::kubernetes::kubeadm::{config, manifest};

use super::finding::Evidence;

pub(super) fn written(node: &Node) -> Result<Evidence> {
    let mut exceptions = written::differences(node)?;
    let manifests = written::manifests();
    exceptions.extend(list(node, manifest::DIRECTORY).into_iter().filter_map(|path| {
        let known = node.role.is_master() && manifests.contains(&path);
        (!known).then(|| format!("{path} is a static pod of nobody's"))
    }));
    exceptions.extend(unset(node)?);
    if node.role.is_master() {
        exceptions.extend(images(node)?);
    }
    if node.role.kube_proxy.here
        && files::read(node.host, kube_proxy::CONFIG)? != Some(config::kube_proxy(node)?)
    {
        exceptions.push(format!("{} is not {} with the node's name", kube_proxy::CONFIG, config::KUBE_PROXY));
    }
    Ok(Evidence::new(
        exceptions,
        "manifests and the kubelet's files by their digests, kube-proxy's by its text",
    ))
}

/// Returns the kubelet's shipped settings that are not in effect. kubeadm leaves out what is empty, 0 or no, and adds
/// more.
fn unset(node: &Node) -> Result<Vec<String>> {
    let [path, _] = written::KUBELET;
    let (shipped, given) = (files::need(node.host, config::KUBELET)?, files::read(node.host, path)?);
    let given = settings(&given.unwrap_or_default());
    let is_empty = |value: &str| matches!(value, "0" | "false" | "\"\"" | "");
    let missing =
        settings(&shipped).into_iter().filter(|(key, value)| match given.iter().find(|(of, _)| of == key) {
            None => !is_empty(value),
            Some(_) => !given.contains(&(key.clone(), value.clone())),
        });
    Ok(missing.map(|(key, value)| format!("{path} has no {key}: {value} of {}", config::KUBELET)).collect())
}

/// Parses the settings of a YAML document of the plain kind that is shipped and that kubeadm writes: `a.b` and its
/// value, a list's items each with the list's name.
fn settings(text: &str) -> Vec<(String, String)> {
    let mut above: Vec<(usize, &str)> = Vec::new();
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty()) {
        let indent = line.len() - line.trim_start().len();
        let item = line.trim().strip_prefix("- ");
        // kubeadm does not indent a list's items.
        above.retain(|(at, _)| *at < indent || item.is_some() && *at == indent);
        let name = |key: &str| {
            let names = above.iter().map(|(_, name)| *name).chain(Some(key).filter(|key| !key.is_empty()));
            names.collect::<Vec<_>>().join(".")
        };
        match (item, line.trim().split_once(':')) {
            (Some(item), _) => found.push((name(""), item.trim().to_owned())),
            (None, Some((key, value))) if value.trim().is_empty() => above.push((indent, key)),
            (None, Some((key, value))) => found.push((name(key), value.trim().to_owned())),
            (None, None) => {}
        }
    }
    found
}

/// Returns images that manifests name and the role does not: after an upgrade of the packages they are not there any
/// more.
fn images(node: &Node) -> Result<Vec<String>> {
    let (images, kubernetes) = (&node.role.images, format!("v{}", node.role.kubernetes));
    let mut found = Vec::new();
    for name in manifest::NAMES {
        let path = format!("{}/{name}.yaml", manifest::DIRECTORY);
        let text = files::read(node.host, &path)?.unwrap_or_default();
        let tag = if name == "etcd" { &images.etcd } else { &kubernetes };
        let expected = format!("{}/{name}:{tag}", images.repository);
        let named = text.lines().filter_map(|line| line.trim().strip_prefix("image: "));
        found.extend(
            named
                .filter(|image| *image != expected)
                .map(|image| format!("{path} names {image}, not {expected}")),
        );
    }
    Ok(found)
}

/// Units whose settings the packages bring.
const UNITS: [&str; 8] = [
    "crio",
    "hale-filter",
    "kubelet",
    "kube-proxy",
    "hale-bootstrap",
    "hale-hold",
    "hale-machine",
    "hale-renew",
];
/// Folders of units (systemd.unit(5)); Debian's `/lib` is `/usr/lib`.
const PLACES: [&str; 6] = [
    "/etc/systemd/system",
    "/etc/systemd/system.control",
    "/run/systemd/system",
    "/run/systemd/system.control",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];

/// Checks that files over our settings belong to packages; that packages' files are as packaged is another promise.
pub(super) fn overlaid(node: &Node) -> Result<Evidence> {
    let mut paths = list(node, "/etc/crio/crio.conf.d");
    let whole = "/etc/crio/crio.conf";
    paths.extend(node.host.path(whole).exists().then(|| whole.to_owned()));
    for place in PLACES {
        paths.extend(list(node, &format!("{place}/service.d")));
        for unit in UNITS {
            let file = format!("{place}/{unit}.service");
            paths.extend(
                fs::symlink_metadata(node.host.path(&file))
                    .is_ok_and(|found| found.is_file())
                    .then_some(file),
            );
            paths.extend(list(node, &format!("{place}/{unit}.service.d")));
        }
    }
    if paths.is_empty() {
        return Ok(Evidence::new(paths, "there is nothing"));
    }
    let arguments: Vec<&str> = ["--search"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    let output = node.host.run(&Command::new("/usr/bin/dpkg-query", &arguments))?;
    // `PACKAGE[, PACKAGE]: PATH`; it ends with 1 when one of them is nobody's.
    let owned = |path: &String| {
        output.stdout.lines().any(|line| line.split_once(": ").is_some_and(|(_, of)| of == path))
    };
    let count = paths.len();
    let foreign = paths.into_iter().filter(|path| !owned(path));
    let exceptions = foreign.map(|path| format!("{path} is of no package")).collect();
    Ok(Evidence::new(exceptions, format!("{count} files of packages")))
}

/// Returns the files of a folder in order; none if there is no folder.
fn list(node: &Node, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(node.host.path(folder)).into_iter().flatten().flatten();
    let mut paths: Vec<String> =
        entries.map(|entry| format!("{folder}/{}", entry.file_name().to_string_lossy())).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_people_and_kubeadm_write_them() {
        let ours = "# Why.\na: 1\nb:\n  - x\n  - y\nc:\n  d:\n    e: false\n  f: 4h0m0s\ng: z\n";
        let theirs = "a: 1\nb:\n- x\n- y\nc:\n  d:\n    e: false\n  f: 4h0m0s\ng: z\n";
        let expect = [("a", "1"), ("b", "x"), ("b", "y"), ("c.d.e", "false"), ("c.f", "4h0m0s"), ("g", "z")];
        let expect = expect.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(settings(ours), expect);
        assert_eq!(settings(theirs), expect);
    }
}
