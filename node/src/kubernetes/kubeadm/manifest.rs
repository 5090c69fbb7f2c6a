//! Relaxes the probes of the four static pod manifests: kubeadm's kill an API server that is only slow.
//!
//! kubeadm 1.17 and 1.20 have no field for probes, so the written YAML is edited, line by line: kubeadm prints
//! it in one fixed form, and a manifest without the lines that are looked for is refused.

use crate::config::Minor;
use crate::fault::{Fault, Result};
use crate::host::files;
use crate::kubernetes::context::Node;

use super::dialect::dialect;

/// Directory in which the kubelet looks for static pods.
pub const DIRECTORY: &str = "/etc/kubernetes/manifests";
/// Names of the static pods.
pub const NAMES: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// What a probe allows: with a check each 10 s, ten minutes without an answer before a restart.
const LIVENESS: [(&str, u32); 3] =
    [("initialDelaySeconds", 60), ("timeoutSeconds", 60), ("failureThreshold", 60)];
/// Twenty minutes to start.
const STARTUP: [(&str, u32); 2] = [("timeoutSeconds", 60), ("failureThreshold", 120)];

/// Returns whether all four manifests are there, with relaxed probes.
pub fn are_relaxed(node: &Node) -> Result<bool> {
    for name in NAMES {
        let text = files::read(node.host, &path(name))?.unwrap_or_default();
        match relaxed(&text, node.role.kubernetes.minor()) {
            Ok(edited) if edited == text => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Relaxes the probes of all four manifests.
pub fn relax_probes(node: &Node) -> Result<()> {
    for name in NAMES {
        let path = path(name);
        let text = files::need(node.host, &path)?;
        let edited = relaxed(&text, node.role.kubernetes.minor()).map_err(|f| f.context(&path))?;
        files::write(node.host, &path, edited.as_bytes(), 0o600)?;
    }
    Ok(())
}

fn path(name: &str) -> String {
    format!("{DIRECTORY}/{name}.yaml")
}

/// Returns a manifest's text with relaxed probes.
pub fn relaxed(text: &str, minor: Minor) -> Result<String> {
    let text = set(text, "livenessProbe", &LIVENESS)?;
    if dialect(minor).startup_probe { set(&text, "startupProbe", &STARTUP) } else { Ok(text) }
}

/// Sets values in the block of a probe.
fn set(text: &str, probe: &str, values: &[(&str, u32)]) -> Result<String> {
    let mut inside: Option<usize> = None;
    let mut found = 0;
    let mut lines = Vec::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        match inside {
            None if line.trim() == format!("{probe}:") => inside = Some(indent),
            Some(begin) if indent <= begin => inside = None,
            _ => {}
        }
        let name = line.trim().split(':').next().unwrap_or_default();
        let value = values.iter().find(|(wanted, _)| inside.is_some() && *wanted == name);
        lines.push(match value {
            Some((name, value)) => format!("{}{name}: {value}", &line[..indent]),
            None => line.to_owned(),
        });
        found += usize::from(value.is_some());
    }
    if found != values.len() {
        return Err(Fault::machine(format!("the manifest has no {probe} as kubeadm writes it")));
    }
    Ok(lines.join("\n") + "\n")
}
