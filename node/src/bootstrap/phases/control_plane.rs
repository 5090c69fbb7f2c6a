//! The control plane: four static pods, what the cluster is told once they run, and how nodes are let in.

use crate::bootstrap::written;
use crate::fault::Result;
use crate::host::files;
use crate::kubernetes::api::{self, PATIENCE};
use crate::kubernetes::context::Node;
use crate::kubernetes::kubeadm::{self, api_server, manifest};
use crate::kubernetes::retry::retry;
use crate::kubernetes::{invitation, ownership, paths};

/// Whether its manifests are there, and what they mount.
pub(super) fn check(node: &Node) -> Result<bool> {
    Ok(api_server::is_ready(node)? && manifest::are_patient(node)?)
}

/// Writes them.
pub(super) fn act(node: &Node) -> Result<()> {
    api_server::prepare(node)?;
    kubeadm::init_phases(node, &[&["control-plane", "all"], &["etcd", "local"]])?;
    manifest::make_patient(node)?;
    // kubeadm may have made directories that the table knows.
    ownership::apply(node)?;
    written::note(node, &written::manifests())
}

/// Whether the cluster knows its configuration.
pub(super) fn uploaded(node: &Node) -> Result<bool> {
    api::knows(node, &["get", "configmap", "-n", "kube-system", "kubeadm-config"])
}

/// Tells it that, and which node is its master.
pub(super) fn upload(node: &Node) -> Result<()> {
    kubeadm::init_phases(
        node,
        &[&["upload-config", "all"], &["mark-control-plane"], &["kubelet-finalize", "all"]],
    )?;
    files::sync(&node.host.path(paths::KUBELET))?;
    ownership::apply(node)
}

/// Whether nodes can join, and none that is not invited.
pub(super) fn can_invite(node: &Node) -> Result<bool> {
    Ok(api::has_info(node)? && retry(node, PATIENCE, &|| invitation::is_closed(node))?)
}

/// Makes it so.
pub(super) fn token(node: &Node) -> Result<()> {
    kubeadm::init_phases(node, &[&["bootstrap-token", "--skip-token-print"]])?;
    retry(node, PATIENCE, &|| invitation::close(node))
}
