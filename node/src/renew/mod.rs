//! Renewal of certificates before they end: kubeadm's, kube-proxy's, then the ownership table again.
//!
//! kubeadm writes renewed files as root's; without the table the static pods could not read them. The pods
//! read them at their start, so those that hold one are started anew.

use std::time::Duration;

use crate::fault::{Class, Result};
use crate::host::systemd::systemctl;
use crate::host::{files, openssl};
use crate::kubernetes::context::Node;
use crate::kubernetes::kubeadm;
use crate::kubernetes::kubeadm::dialect::dialect;
use crate::kubernetes::{api, kube_proxy, ownership};

mod approve;
pub mod csr;
pub mod form;
pub mod outcome;
mod rotate;

pub use approve::approve;
use outcome::{DAYS, RenewalOutcome};

/// Days left below which a certificate is a broken promise: renewal did not happen.
pub const WARNING: u64 = 30;
/// The certificate that stands for all of kubeadm's: they are made and renewed together.
const WITNESS: &str = "/etc/kubernetes/pki/apiserver.crt";
/// Marker that the master's renewal is under way: one that was cut short is repeated from its beginning, since a
/// process that holds an old certificate would not be found any more.
pub const UNDER_WAY: &str = "/var/lib/hale/renewal";
/// Containers that hold a certificate for as long as they run.
const HOLDERS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// Renews certificates that end soon, or all if `force` is set; on the master, also approves what nodes ask for.
///
/// The kubelet renews its own certificate, on every node.
pub fn renew(node: &Node, force: bool) -> Result<RenewalOutcome> {
    // A renewal that was cut short left files that are root's.
    ownership::apply(node)?;
    if !node.role.is_master() {
        return rotate::renew(node, force);
    }
    let outcome = renew_own(node, force)?;
    // The timer comes at a boot too, long before anything answers.
    api::wait_until_healthy(node)?;
    if approve(node)? {
        start_approver(node)?;
    }
    Ok(outcome)
}

/// The unit that approves what an invited node asks for: the timer would let it wait for too long.
const APPROVER: &str = "hale-approve.service";

/// Restarts the approver: one that was about to end has not seen the newest invitation.
pub fn start_approver(node: &Node) -> Result<()> {
    systemctl(node.host, &["restart", "--no-block", APPROVER])
}

/// Approves requests again and again, for as long as anybody is invited.
pub fn approve_the_invited(node: &Node) -> Result<()> {
    loop {
        match approve(node) {
            Ok(false) => return Ok(()),
            Err(fault) if fault.class() != Class::Transient => return Err(fault),
            _ => node.host.pause(PAUSE),
        }
    }
}

/// Pause between two looks at open requests.
const PAUSE: Duration = Duration::from_secs(10);

fn renew_own(node: &Node, force: bool) -> Result<RenewalOutcome> {
    let proxy = node.role.kube_proxy.here && kube_proxy::ends_within(node, DAYS)?;
    let cut_short = files::read(node.host, UNDER_WAY)?.is_some();
    if !force && !cut_short && !proxy && !openssl::ends_within(node.host, WITNESS, DAYS)? {
        return Ok(RenewalOutcome::NotDue);
    }
    files::write(node.host, UNDER_WAY, b"", 0o600)?;
    kubeadm::run(node, dialect(node.role.kubernetes.minor()).renew, 10)?;
    ownership::apply(node)?;
    files::sync_all(&node.host.path("/etc/kubernetes"))?;
    if node.role.kube_proxy.here {
        kube_proxy::renew(node)?;
    }
    for name in HOLDERS {
        restart(node, name)?;
    }
    systemctl(node.host, &["restart", "kubelet.service"])?;
    api::wait_until_healthy(node)?;
    files::remove(node.host, UNDER_WAY)?;
    Ok(RenewalOutcome::Renewed)
}

/// Stops a static pod's container; the kubelet starts it anew.
fn restart(node: &Node, name: &str) -> Result<()> {
    let ids = node.host.run_checked(&node.crictl(&["ps", "--quiet", "--name", &format!("^{name}$")]))?;
    for id in ids.split_whitespace() {
        node.host.run_checked(&node.crictl(&["stop", id]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
