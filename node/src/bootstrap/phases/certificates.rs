//! Certificates and kubeconfigs: made beside their place, synced, and put there by one rename, because
//! kubeadm takes whatever it finds and fails on an empty `ca.key`.

use crate::config::Pem;
use crate::config::node::CaPair;
use crate::fault::{Class, Fault, Result};
use crate::host::{files, openssl};
use crate::kubernetes::context::Node;
use crate::kubernetes::kubeadm::{self, config};
use crate::kubernetes::paths;

/// Where kubeadm makes certificates before they are whole.
const SCRATCH_PKI: &str = "/etc/kubernetes/.pki.hale";
/// Where kubeadm makes kubeconfigs before they are whole.
const SCRATCH_KUBECONFIGS: &str = "/etc/kubernetes/.kubeconfigs.hale";
/// All that `kubeadm init phase certs all` makes.
const FILES: [&str; 22] = [
    "apiserver-etcd-client.crt",
    "apiserver-etcd-client.key",
    "apiserver-kubelet-client.crt",
    "apiserver-kubelet-client.key",
    "apiserver.crt",
    "apiserver.key",
    "ca.crt",
    "ca.key",
    "etcd/ca.crt",
    "etcd/ca.key",
    "etcd/healthcheck-client.crt",
    "etcd/healthcheck-client.key",
    "etcd/peer.crt",
    "etcd/peer.key",
    "etcd/server.crt",
    "etcd/server.key",
    "front-proxy-ca.crt",
    "front-proxy-ca.key",
    "front-proxy-client.crt",
    "front-proxy-client.key",
    "sa.key",
    "sa.pub",
];
/// All that `kubeadm init phase kubeconfig all` makes.
const KUBECONFIGS: [&str; 4] = ["admin.conf", "controller-manager.conf", "kubelet.conf", "scheduler.conf"];

/// Returns whether a file is whole PEM.
pub(super) fn is_pem(node: &Node, path: &str) -> Result<bool> {
    Ok(files::read(node.host, path)?.is_some_and(|text| Pem::try_from(text).is_ok()))
}

fn whole(node: &Node, directory: &str) -> Result<bool> {
    for name in FILES {
        if !is_pem(node, &format!("{directory}/{name}"))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns whether all certificates are there.
pub(super) fn is_done(node: &Node) -> Result<bool> {
    whole(node, paths::PKI)
}

/// Makes all certificates, unless they are there already.
pub(super) fn apply(node: &Node) -> Result<()> {
    if is_done(node)? {
        return Ok(());
    }
    // What is there is of no use: nothing was started with it, or `kubelet.conf` would be there too.
    if files::read(node.host, paths::KUBELET)?.is_some() {
        let fault =
            Fault::new(Class::Integrity, format!("{} is damaged on a node that was set up", paths::PKI));
        return Err(fault.help("restore it from a backup, or `hale reset` and begin anew"));
    }
    files::remove(node.host, SCRATCH_PKI)?;
    if let Some(ca) = &node.config.ca {
        install_ca(node, ca)?;
    }
    let text = config::init(node, SCRATCH_PKI)?;
    kubeadm::with_config(node, "certificates.json", &text, |config| {
        kubeadm::phase(node, &["certs", "all"], config)
    })?;
    if !whole(node, SCRATCH_PKI)? {
        return Err(Fault::transient("kubeadm left a certificate out or cut it short"));
    }
    files::remove(node.host, paths::PKI)?;
    files::promote(node.host, SCRATCH_PKI, paths::PKI)
}

/// Puts a given CA where kubeadm uses it. Refuses a key that is another's: kubeadm would sign with that, too.
fn install_ca(node: &Node, ca: &CaPair) -> Result<()> {
    let key = ca.key.as_ref().ok_or_else(|| Fault::new(Class::Missing, "the given CA's key is missing"))?;
    let (certificate, private) = (format!("{SCRATCH_PKI}/ca.crt"), format!("{SCRATCH_PKI}/ca.key"));
    files::write(node.host, &certificate, ca.certificate.expose().as_bytes(), 0o644)?;
    files::write(node.host, &private, key.expose().as_bytes(), 0o600)?;
    if openssl::is_pair(node.host, &certificate, &private)? {
        return Ok(());
    }
    files::remove(node.host, SCRATCH_PKI)?;
    Err(Fault::input("ca.key is not the key of ca.certificate")
        .help("put the cluster CA's own pair into /etc/hale/node.toml"))
}

/// Returns whether all kubeconfigs are there.
pub(super) fn has_kubeconfigs(node: &Node) -> Result<bool> {
    for name in KUBECONFIGS {
        let text = files::read(node.host, &format!("/etc/kubernetes/{name}"))?.unwrap_or_default();
        if !text.contains("current-context:") || !text.contains("users:") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes all kubeconfigs, unless they are there already.
pub(super) fn make_kubeconfigs(node: &Node) -> Result<()> {
    files::remove(node.host, SCRATCH_KUBECONFIGS)?;
    if has_kubeconfigs(node)? {
        return Ok(());
    }
    files::make_directory(node.host, &node.host.path(SCRATCH_KUBECONFIGS), 0o700)?;
    kubeadm::init_phases(node, &[&["kubeconfig", "all", "--kubeconfig-dir", SCRATCH_KUBECONFIGS]])?;
    for name in KUBECONFIGS {
        files::promote(
            node.host,
            &format!("{SCRATCH_KUBECONFIGS}/{name}"),
            &format!("/etc/kubernetes/{name}"),
        )?;
    }
    files::remove(node.host, SCRATCH_KUBECONFIGS)
}
