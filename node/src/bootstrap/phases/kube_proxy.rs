//! kube-proxy on the host: its configuration, its credentials, its unit.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::fault::{Fault, Result};
use crate::host::files;
use crate::host::systemd::{enabled_and_active, systemctl};
use crate::kubernetes::context::Node;
use crate::kubernetes::kube_proxy::{self, CONFIG, DIRECTORY, KUBECONFIG, UNIT};
use crate::kubernetes::kubeadm::config;

/// Returns whether kube-proxy's files are right and its unit runs.
pub(super) fn is_done(node: &Node) -> Result<bool> {
    let mode = fs::metadata(node.host.path(DIRECTORY)).map_or(0, |m| m.permissions().mode() & 0o7777);
    let config = files::read(node.host, CONFIG)? == Some(config::kube_proxy(node)?);
    Ok(mode == 0o750 && config && has_credentials(node)? && enabled_and_active(node.host, UNIT)?)
}

fn has_credentials(node: &Node) -> Result<bool> {
    let text = files::read(node.host, KUBECONFIG)?.unwrap_or_default();
    Ok(text.contains("client-key-data:") && files::check_private(node.host, KUBECONFIG).is_ok())
}

/// Writes kube-proxy's files and starts it.
pub(super) fn apply(node: &Node) -> Result<()> {
    let directory = node.host.path(DIRECTORY);
    files::make_directory(node.host, &directory, 0o750)?;
    let owned = node.host.chown(&directory, 0, 0);
    let set = owned.and_then(|()| fs::set_permissions(&directory, fs::Permissions::from_mode(0o750)));
    set.map_err(|e| Fault::io("change the mode of", &directory, e))?;
    files::write(node.host, CONFIG, config::kube_proxy(node)?.as_bytes(), 0o600)?;
    if !has_credentials(node)? {
        files::write(node.host, KUBECONFIG, kube_proxy::credentials(node)?.as_bytes(), 0o600)?;
    }
    systemctl(node.host, &["enable", "--now", UNIT])
}
