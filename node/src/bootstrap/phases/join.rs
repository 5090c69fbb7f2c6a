//! Joining: kubeadm finds the API server by the token, trusts its CA by the pin, and starts the kubelet, which gets
//! itself credentials. The last thing it does is a note on the node's object; on a slow machine that times out,
//! and then the node is a member all the same. What counts is whether the API server takes the credentials.

use crate::bootstrap::written;
use crate::fault::{Class, Fault, Result};
use crate::host::files;
use crate::host::systemd::{enabled_and_active, systemctl};
use crate::kubernetes::api::{self, API_TIMEOUT};
use crate::kubernetes::context::{Node, PODS_LABEL};
use crate::kubernetes::kubeadm::dialect::dialect;
use crate::kubernetes::kubeadm::{self, config};
use crate::kubernetes::paths;
use crate::kubernetes::retry::retry;

use super::certificates::is_pem;
use super::kubelet;

const BOOTSTRAP: &str = "/etc/kubernetes/bootstrap-kubelet.conf";
/// Annotation by which kubeadm notes CRI-O's socket on a node's object.
const NOTE: &str = "kubeadm.alpha.kubernetes.io/cri-socket";

/// Returns whether the node has credentials of its own, and a kubelet that uses them.
pub(super) fn is_done(node: &Node) -> Result<bool> {
    Ok(has_credentials(node)? && enabled_and_active(node.host, "kubelet.service")?)
}

fn has_credentials(node: &Node) -> Result<bool> {
    let text = files::read(node.host, paths::KUBELET)?.unwrap_or_default();
    Ok(text.contains("current-context:") && is_pem(node, paths::CA)?)
}

/// Returns whether the API server accepts the node's credentials; waits for its answer.
fn is_member(node: &Node) -> Result<bool> {
    Ok(has_credentials(node)? && retry(node, API_TIMEOUT, &|| api::accepts(node))?)
}

/// Joins the cluster, unless an earlier attempt did.
pub(super) fn apply(node: &Node) -> Result<()> {
    if !is_member(node)? {
        join(node)?;
    }
    for path in [paths::CA, paths::KUBELET] {
        files::sync(&node.host.path(path))?;
    }
    files::remove(node.host, BOOTSTRAP)?;
    kubelet::start(node)?;
    let note = format!("{NOTE}={}", paths::CRI_SOCKET);
    change(node, "annotate", &note)?;
    // The kubelet itself does so only for an object that it makes; this one may be of an earlier life of the node.
    change(node, "label", &format!("{PODS_LABEL}={}", node.config.pods(node.role)))?;
    api::wait_for_range(node).or_else(|fault| leave(node, fault))
}

/// Changes this node's object, as the kubelet may.
fn change(node: &Node, how: &str, what: &str) -> Result<()> {
    let arguments = [how, "--overwrite", "node", &node.name, what];
    retry(node, API_TIMEOUT, &|| api::kubectl(node, &arguments)).map(drop)
}

/// Leaves the cluster if this node's pods would have addresses of another's. Its object stays: no node may remove it.
fn leave(node: &Node, fault: Fault) -> Result<()> {
    if fault.class() == Class::Input {
        change(node, "label", &format!("{PODS_LABEL}-"))?;
        clear(node)?;
        written::KUBELET.iter().try_for_each(|path| files::remove(node.host, path))?;
    }
    Err(fault)
}

fn join(node: &Node) -> Result<()> {
    let join = node.config.join.as_ref();
    let join = join.ok_or_else(|| {
        Fault::new(Class::Missing, "there is no [join]").help("run `hale token` on the master")
    })?;
    clear(node)?;
    let tells = dialect(node.role.kubernetes.minor()).join_options;
    let joined = kubeadm::with_config(node, "join.json", &config::join(node, join)?, |config| {
        let options = ["--config", config, "--ignore-preflight-errors=Swap"];
        kubeadm::run(node, &[&["join"], options.as_slice(), tells].concat(), 30)
    });
    let Err(fault) = joined else { return Ok(()) };
    if is_member(node)? {
        return Ok(());
    }
    clear(node)?;
    Err(fault)
}

/// Removes what is left of a failed attempt: kubeadm refuses to join over it. A kubelet that an attempt has
/// started would have the port, and put credentials there in the meantime.
fn clear(node: &Node) -> Result<()> {
    systemctl(node.host, &["stop", "kubelet.service"])?;
    for path in [paths::CA, BOOTSTRAP, paths::KUBELET] {
        files::remove(node.host, path)?;
    }
    Ok(())
}
