//! Joining: kubeadm finds the API server by the token, trusts its CA by the pin, and starts the kubelet.

use crate::fault::{Class, Fault, Result};
use crate::files;
use crate::kubeadm::{self, config};
use crate::node::Node;

use super::{enabled_and_active, is_pem, start_kubelet};

const CA: &str = "/etc/kubernetes/pki/ca.crt";
const BOOTSTRAP: &str = "/etc/kubernetes/bootstrap-kubelet.conf";

/// Whether the node has credentials of its own, and a kubelet that uses them.
pub(super) fn check(node: &Node) -> Result<bool> {
    Ok(has_credentials(node)? && enabled_and_active(node, "kubelet.service")?)
}

fn has_credentials(node: &Node) -> Result<bool> {
    let text = files::read(node.world, kubeadm::KUBELET)?.unwrap_or_default();
    Ok(text.contains("current-context:") && is_pem(node, CA)?)
}

/// Joins. After a cut between the kubelet's credentials and the journal, the API server decides whether they are good.
pub(super) fn act(node: &Node) -> Result<()> {
    if has_credentials(node)? && crate::cluster::succeeds(node, &["get", "node", &node.name])? {
        return start_kubelet(node);
    }
    let join = node.identity.join.as_ref();
    let join = join.ok_or_else(|| {
        Fault::new(Class::Missing, "there is no [join]").mend("run `hale token` on the master")
    })?;
    for path in [CA, BOOTSTRAP, kubeadm::KUBELET] {
        files::remove(node.world, path)?;
    }
    let config = kubeadm::configure(node, "join.json", &config::join(node, join)?)?;
    // The port is taken by the kubelet of an attempt that was cut short.
    let ignore = "--ignore-preflight-errors=Swap,Port-10250";
    let joined = kubeadm::run(node, &["join", "--config", &config, ignore], 15);
    files::remove(node.world, &config)?;
    if let Err(fault) = joined {
        // Nothing of a cluster that was not joined stays.
        for path in [CA, BOOTSTRAP, kubeadm::KUBELET] {
            files::remove(node.world, path)?;
        }
        return Err(fault);
    }
    for path in [CA, kubeadm::KUBELET] {
        files::sync(&node.world.path(path))?;
    }
    files::remove(node.world, BOOTSTRAP)?;
    start_kubelet(node)
}
