//! Containers' bundles: what is there is read by the host's root, so nobody else may write there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::fault::{Fault, Result};
use crate::host::files;
use crate::kubernetes::context::Node;
use crate::shim::refusal::REFUSED;
use crate::shim::{BUNDLES, THEIRS};

use super::finding::Evidence;

pub(super) fn check(node: &Node) -> Result<Evidence> {
    let mut exceptions = Vec::new();
    let mut count = 0;
    for container in list(&node.host.path(BUNDLES))? {
        let bundle = container.join("userdata");
        let Ok(metadata) = fs::symlink_metadata(&bundle) else { continue };
        count += 1;
        let mode = metadata.permissions().mode() & 0o7777;
        if !metadata.is_dir() || mode != 0o700 {
            exceptions.push(format!("{} has mode {mode:04o}, not 0700", describe(node, &bundle)));
        }
        let mut all = vec![bundle.clone()];
        all.extend(if metadata.is_dir() { list(&bundle)? } else { Vec::new() });
        for path in all {
            // What has gone meanwhile is nobody's.
            if let Ok((uid, gid)) = node.host.owner(&path)
                && !(uid == 0 || uid == node.role.user.first_id && is_theirs(&path))
            {
                exceptions.push(format!("{} is {uid}:{gid}, not root's", describe(node, &path)));
            }
        }
    }
    let refused = refused(node)?;
    if count == 0 && exceptions.is_empty() {
        return Ok(Evidence::nothing(&format!("there is no bundle; {refused}")));
    }
    Ok(Evidence::new(exceptions, format!("{count} bundles; {refused}")))
}

/// Returns whether an entry of a bundle is mounted into containers.
fn is_theirs(path: &Path) -> bool {
    path.file_name().is_some_and(|name| THEIRS.iter().any(|known| name == *known))
}

/// Returns a folder's entries in order; none if there is no folder.
fn list(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => {
            let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            paths.sort();
            Ok(paths)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Fault::io("list", folder, error)),
    }
}

fn describe(node: &Node, path: &Path) -> String {
    format!("/{}", path.strip_prefix(node.host.root()).unwrap_or(path).display())
}

/// Describes the refusals. A refusal kept the promise, so it is no exception.
fn refused(node: &Node) -> Result<String> {
    let text = files::read(node.host, REFUSED)?.unwrap_or_default();
    Ok(match text.lines().last() {
        None => "no start was refused".to_owned(),
        Some(last) => format!("{} starts were refused, the last: {last}", text.lines().count()),
    })
}
