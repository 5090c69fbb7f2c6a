//! The control plane: four static pods, what the cluster is told once they run, and how nodes are let in.

use crate::bootstrap::written;
use crate::fault::Result;
use crate::host::files;
use crate::kubernetes::api::{self, API_TIMEOUT};
use crate::kubernetes::context::Node;
use crate::kubernetes::kubeadm::{self, api_server, manifest};
use crate::kubernetes::retry::retry;
use crate::kubernetes::{invitation, ownership, paths};

/// Returns whether the manifests are there, and what they mount.
pub(super) fn is_done(node: &Node) -> Result<bool> {
    Ok(api_server::is_ready(node)? && manifest::are_relaxed(node)?)
}

/// Writes the manifests, and what they mount.
pub(super) fn apply(node: &Node) -> Result<()> {
    api_server::prepare(node)?;
    kubeadm::init_phases(node, &[&["control-plane", "all"], &["etcd", "local"]])?;
    manifest::relax_probes(node)?;
    // kubeadm may have made directories that the table knows.
    ownership::apply(node)?;
    written::note(node, &written::manifests())
}

/// Returns whether the cluster knows its configuration.
pub(super) fn is_uploaded(node: &Node) -> Result<bool> {
    api::exists(node, &["get", "configmap", "-n", "kube-system", "kubeadm-config"])
}

/// Uploads the configuration and marks this node as the master.
pub(super) fn upload(node: &Node) -> Result<()> {
    kubeadm::init_phases(
        node,
        &[&["upload-config", "all"], &["mark-control-plane"], &["kubelet-finalize", "all"]],
    )?;
    files::sync(&node.host.path(paths::KUBELET))?;
    ownership::apply(node)
}

/// Returns whether invited nodes can join, and no others.
pub(super) fn can_invite(node: &Node) -> Result<bool> {
    Ok(api::has_cluster_info(node)? && retry(node, API_TIMEOUT, &|| invitation::is_closed(node))?)
}

/// Lets invited nodes join, and no others.
pub(super) fn invite(node: &Node) -> Result<()> {
    kubeadm::init_phases(node, &[&["bootstrap-token", "--skip-token-print"]])?;
    retry(node, API_TIMEOUT, &|| invitation::close(node))
}
