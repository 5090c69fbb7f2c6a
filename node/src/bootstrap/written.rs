//! What the bootstrap had kubeadm write, by its digest: nobody else changes these files afterwards, so that who finds them
//! changed knows that somebody did.

use sha2::{Digest, Sha256};

use crate::fault::Result;
use crate::host::files;
use crate::kubernetes::context::Node;
use crate::kubernetes::kubeadm::manifest;

/// File of the digests: `SHA-256 PATH` lines, as sha256sum(1) has them.
pub const PATH: &str = "/var/lib/hale/written";
/// Files that kubeadm writes for the kubelet.
pub const KUBELET: [&str; 2] = ["/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env"];

/// Returns the paths of the static pods' manifests.
pub fn manifests() -> [String; 4] {
    manifest::NAMES.map(|name| format!("{}/{name}.yaml", manifest::DIRECTORY))
}

/// Records the digests of these files; those of other files stay.
pub fn note(node: &Node, paths: &[impl AsRef<str>]) -> Result<()> {
    let old = files::read(node.host, PATH)?.unwrap_or_default();
    let is_new = |line: &&str| paths.iter().any(|path| line.ends_with(&format!("  {}", path.as_ref())));
    let mut lines: Vec<String> = old.lines().filter(|line| !is_new(line)).map(str::to_owned).collect();
    for path in paths {
        lines.push(line(path.as_ref(), &files::need(node.host, path.as_ref())?));
    }
    lines.sort();
    let text = lines.join("\n") + "\n";
    if text == old { Ok(()) } else { files::write(node.host, PATH, text.as_bytes(), 0o600) }
}

fn line(path: &str, text: &str) -> String {
    let digest: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digest}  {path}")
}

/// Returns those of a node's files that are not as they were recorded, each with what is wrong.
pub fn differences(node: &Node) -> Result<Vec<String>> {
    let noted = files::read(node.host, PATH)?.unwrap_or_default();
    let manifests = manifests();
    let mut paths = KUBELET.to_vec();
    paths.extend(manifests.iter().filter(|_| node.role.is_master()).map(String::as_str));
    let mut found = Vec::new();
    for path in paths {
        let is_noted = noted.lines().any(|line| line.ends_with(&format!("  {path}")));
        match files::read(node.host, path)? {
            None => found.push(format!("{path} is missing")),
            Some(_) if !is_noted => found.push(format!("{path} was not noted in {PATH}")),
            Some(text) if noted.lines().any(|noted| noted == line(path, &text)) => {}
            Some(_) => found.push(format!("{path} is not as the bootstrap wrote it")),
        }
    }
    Ok(found)
}
