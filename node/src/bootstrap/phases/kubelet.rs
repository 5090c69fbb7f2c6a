//! The kubelet: it runs, will after a reboot, and has a certificate as a server that the cluster's CA signed.

use crate::bootstrap::written;
use crate::fault::Result;
use crate::host::files;
use crate::host::systemd::{enabled_and_active, systemctl};
use crate::kubernetes::api::API_TIMEOUT;
use crate::kubernetes::context::Node;
use crate::kubernetes::kubeadm;
use crate::kubernetes::ownership;
use crate::kubernetes::retry::wait_until;
use crate::renew;

/// Returns whether the kubelet's files are there and its unit runs.
pub(super) fn is_done(node: &Node) -> Result<bool> {
    for path in written::KUBELET {
        if files::read(node.host, path)?.is_none_or(|text| text.is_empty()) {
            return Ok(false);
        }
    }
    enabled_and_active(node.host, "kubelet.service")
}

/// Has kubeadm write the kubelet's files, and starts it.
pub(super) fn apply(node: &Node) -> Result<()> {
    kubeadm::init_phases(node, &[&["kubelet-start"]])?;
    start(node)
}

/// Syncs the kubelet's files, enables its unit and starts it: kubeadm does neither of the first two.
pub(super) fn start(node: &Node) -> Result<()> {
    for path in written::KUBELET {
        files::sync(&node.host.path(path))?;
    }
    files::sync(&node.host.path("/var/lib/kubelet"))?;
    written::note(node, &written::KUBELET)?;
    ownership::apply(node)?;
    systemctl(node.host, &["enable", "--now", "kubelet.service"])
}

/// The kubelet's certificate as a server; a link to the newest.
const SERVING: &str = "/var/lib/kubelet/pki/kubelet-server-current.pem";

/// Returns whether the kubelet has a serving certificate.
pub(super) fn is_serving(node: &Node) -> Result<bool> {
    Ok(node.host.path(SERVING).exists())
}

/// Waits for the kubelet's serving certificate: it asks for one when the API server knows its addresses, the master
/// approves, and the controller manager signs.
pub(super) fn wait_until_serving(node: &Node) -> Result<()> {
    wait_until(node, "the kubelet has no certificate as a server", API_TIMEOUT, &|| {
        renew::approve(node)?;
        is_serving(node)
    })
}
