//! kube-proxy on the host: its paths and its credentials.
//!
//! ```text
//! /var/lib/kube-proxy/           0750 root:root
//!   config.conf                  0600
//!   kubeconfig.conf              0600, client certificate of system:kube-proxy
//! ```
//! The user `system:kube-proxy` has its rights by a ClusterRoleBinding that is built into the API server.

use zeroize::Zeroizing;

use crate::fault::{Class, Fault, Result};
use crate::host::systemd::systemctl;
use crate::host::{files, openssl, run_dir};
use crate::kubernetes::context::Node;
use crate::kubernetes::kubeadm;
use crate::text::base64;

/// Directory of its files.
pub const DIRECTORY: &str = "/var/lib/kube-proxy";
/// Path of its configuration.
pub const CONFIG: &str = "/var/lib/kube-proxy/config.conf";
/// Path of its kubeconfig, with its credentials.
pub const KUBECONFIG: &str = "/var/lib/kube-proxy/kubeconfig.conf";
/// Its systemd unit.
pub const UNIT: &str = "kube-proxy.service";
/// Its user name at the API server.
pub const USER: &str = "system:kube-proxy";

/// Replaces its credentials and restarts it.
pub fn renew(node: &Node) -> Result<()> {
    files::write(node.host, KUBECONFIG, credentials(node)?.as_bytes(), 0o600)?;
    restart(node)
}

/// Restarts it, if it runs, so that it reads its credentials again.
pub fn restart(node: &Node) -> Result<()> {
    systemctl(node.host, &["try-restart", UNIT])
}

/// What stands before the certificate and the key in a kubeconfig, as kubeadm writes it.
const CERTIFICATE_DATA: &str = "client-certificate-data: ";
const KEY_DATA: &str = "client-key-data: ";

/// Returns whether the kubeconfig has this key (PEM).
pub fn has_key(node: &Node, key: &str) -> Result<bool> {
    let text = Zeroizing::new(files::need(node.host, KUBECONFIG)?);
    let line = Zeroizing::new(format!("{KEY_DATA}{}", base64::encode(key.as_bytes())));
    Ok(text.lines().any(|other| other.trim() == *line))
}

/// Replaces certificate and key (PEM) in the kubeconfig; everything else in it stays.
pub fn put_credentials(node: &Node, certificate: &str, key: &str) -> Result<()> {
    let text = Zeroizing::new(files::need(node.host, KUBECONFIG)?);
    let new = [(CERTIFICATE_DATA, certificate), (KEY_DATA, key)];
    let mut edited = Zeroizing::new(String::new());
    for line in text.lines() {
        let data = new.iter().find_map(|(name, pem)| Some((line.find(name)? + name.len(), pem)));
        match data {
            Some((end, pem)) => edited.extend([&line[..end], &base64::encode(pem.as_bytes()), "\n"]),
            None => edited.extend([line, "\n"]),
        }
    }
    files::write(node.host, KUBECONFIG, edited.as_bytes(), 0o600)?;
    if has_key(node, key)? {
        Ok(())
    } else {
        Err(Fault::machine(format!("{KUBECONFIG} has no place for a key")))
    }
}

/// Returns whether its certificate ends within `days`.
pub fn ends_within(node: &Node, days: u64) -> Result<bool> {
    let text = files::need(node.host, KUBECONFIG)?;
    let data = text.lines().find_map(|line| line.trim().strip_prefix(CERTIFICATE_DATA));
    let pem = data.and_then(|data| base64::decode(data.trim()));
    let pem = pem.ok_or_else(|| Fault::machine(format!("{KUBECONFIG} has no certificate")))?;
    // Where openssl(1) can look at it: a certificate is no secret.
    let path = run_dir::write(node.host, "kube-proxy.crt", &pem)?;
    openssl::ends_within(node.host, &path, days)
}

/// Returns a kubeconfig for it: on the master newly signed; on a node, which has no CA key, the one of its join file.
pub fn credentials(node: &Node) -> Result<String> {
    if node.role.is_master() {
        return kubeadm::user_kubeconfig(node, USER);
    }
    let given = node.config.kube_proxy.as_ref().and_then(|given| given.kubeconfig.as_ref());
    given.map(|secret| secret.expose().to_owned()).ok_or_else(|| {
        let fault = Fault::new(Class::Missing, "/etc/hale/node.toml has no kube-proxy.kubeconfig");
        fault.help("put there what `hale token --kube-proxy` prints on the master")
    })
}
