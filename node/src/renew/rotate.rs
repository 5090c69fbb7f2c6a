//! On a node: kube-proxy's certificate is asked for with the one that it has, and taken when it is there.
//!
//! Each run does the next step and leaves; the timer comes again. The new key and its request are in memory
//! (`/run/hale`) until certificate and key are put into the kubeconfig by one rename, so a power cut at worst
//! begins anew; the API server removes a request that nobody follows.

use zeroize::Zeroizing;

use crate::fault::{Class, Fault, Result};
use crate::host::{files, openssl, run_dir};
use crate::kubernetes::context::Node;
use crate::kubernetes::kube_proxy::{self, USER};
use crate::kubernetes::kubeadm::dialect::{KubeadmDialect, dialect};
use crate::kubernetes::{api, paths};

use super::csr::{self, RequestState};
use super::form::Form;
use super::outcome::{DAYS, RenewalOutcome};

/// The new private key; it never leaves this node.
const KEY: &str = "/run/hale/renewal.key";
/// The request that was made with it.
const REQUEST: &str = "/run/hale/renewal.csr";
const SCRATCH: &str = "/run/hale/renewal.csr.new";
/// The request as an object for kubectl.
const OBJECT: &str = "/run/hale/renewal.json";
/// The certificate before it is trusted.
const CERTIFICATE: &str = "/run/hale/renewal.crt";
/// Help when the API server does not answer.
const LATER: &str = "the timer tries again; `hale renew` does it now";

/// Does the next step of a renewal, if one is due or under way.
pub(super) fn renew(node: &Node, force: bool) -> Result<RenewalOutcome> {
    if !node.role.kube_proxy.here {
        return Ok(RenewalOutcome::NotDue);
    }
    let given = node.config.kube_proxy.as_ref().is_some_and(|given| given.kubeconfig.is_some());
    if given {
        kube_proxy::renew(node)?;
        node.wipe()?;
        files::remove(node.host, REQUEST)?;
    }
    if files::read(node.host, REQUEST)?.is_some() {
        reach(node)?;
        return follow(node);
    }
    // A run that was cut short while it forgot left a key.
    forget(node)?;
    if kube_proxy::ends_within(node, DAYS)? || force && !given {
        reach(node)?;
        return request_certificate(node);
    }
    Ok(if given { RenewalOutcome::Renewed } else { RenewalOutcome::NotDue })
}

/// Waits for the API server: the timer comes at a boot too, when the network may not be there yet.
fn reach(node: &Node) -> Result<()> {
    api::wait_until_healthy(node).map_err(|fault| fault.help(LATER))
}

fn forget(node: &Node) -> Result<()> {
    // The request goes first: it is what a run follows.
    [REQUEST, KEY, SCRATCH, OBJECT, CERTIFICATE].iter().try_for_each(|path| files::remove(node.host, path))
}

/// Makes a key and a request, and submits the request.
fn request_certificate(node: &Node) -> Result<RenewalOutcome> {
    run_dir::make(node.host)?;
    let (key, scratch, subject) =
        (node.host.argument(KEY), node.host.argument(SCRATCH), format!("/CN={USER}"));
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let files = ["-keyout", &key, "-out", &scratch, "-config", "/dev/null"];
    let arguments = [&["req", "-new", "-subj", &subject], curve.as_slice(), files.as_slice()].concat();
    node.host.run_checked(&openssl::command(&arguments))?;
    files::promote(node.host, SCRATCH, REQUEST)?;
    hand_in(node, &files::need(node.host, REQUEST)?)
}

fn hand_in(node: &Node, pem: &str) -> Result<RenewalOutcome> {
    let object = csr::object(own_dialect(node), &Form::Proxy, &csr::name(&node.name, pem), pem);
    files::write(node.host, OBJECT, object.to_string().as_bytes(), 0o600)?;
    kubectl(node, &["create", "--validate=false", "-f", &node.host.argument(OBJECT)])?;
    files::remove(node.host, OBJECT)?;
    Ok(RenewalOutcome::Requested)
}

fn own_dialect(node: &Node) -> &'static KubeadmDialect {
    dialect(node.role.kubernetes.minor())
}

/// Runs kubectl as kube-proxy.
fn kubectl(node: &Node, arguments: &[&str]) -> Result<String> {
    let output = node.host.run(&node.kubectl_as(kube_proxy::KUBECONFIG, arguments))?;
    if output.success() {
        return Ok(output.stdout);
    }
    let reason = output.reason();
    if ["Unauthorized", "Forbidden", "forbidden"].iter().any(|word| reason.contains(word)) {
        let fault =
            Fault::new(Class::Missing, format!("the API server no longer knows this kube-proxy: {reason}"));
        return Err(fault.help(
            "put the [kube-proxy] that `hale token --kube-proxy` prints on the master into /etc/hale/node.toml, then `hale renew`",
        ));
    }
    Err(Fault::transient(format!("kube-proxy's certificate cannot be asked for: {reason}")).help(LATER))
}

/// Acts on the state of the request.
fn follow(node: &Node) -> Result<RenewalOutcome> {
    let (pem, key) = (files::need(node.host, REQUEST)?, Zeroizing::new(files::need(node.host, KEY)?));
    // It was cut short behind the rename: kube-proxy may still run with the old one.
    if kube_proxy::has_key(node, &key)? {
        return finish(node);
    }
    let (resource, name) = (csr::resource(own_dialect(node)), csr::name(&node.name, &pem));
    let text = kubectl(node, &["get", &resource, &name, "--ignore-not-found", "-o", "json"])?;
    if text.trim().is_empty() {
        return hand_in(node, &pem);
    }
    let object = serde_json::from_str(&text).map_err(|e| {
        Fault::transient(format!("kubectl's answer is no JSON: {e}")).help("the timer tries again")
    })?;
    match csr::state(&object) {
        RequestState::Pending => Ok(RenewalOutcome::Requested),
        RequestState::Issued(certificate) => take(node, &certificate, &key),
        RequestState::Refused(why) => {
            forget(node)?;
            Err(Fault::transient(format!("the request {name} was refused: {why}"))
                .help("ask who refused it; the timer asks anew"))
        }
    }
}

/// Installs a certificate if it is for the key, signed by the cluster's CA, and good for long.
fn take(node: &Node, certificate: &str, key: &str) -> Result<RenewalOutcome> {
    files::write(node.host, CERTIFICATE, certificate.as_bytes(), 0o600)?;
    if let Some(why) = unfit(node)? {
        forget(node)?;
        let what = format!("the certificate that the API server gave for kube-proxy is not taken: {why}");
        return Err(Fault::new(Class::Integrity, what)
            .help("look on the master with `kubectl get csr` who approved it; the timer asks anew"));
    }
    kube_proxy::put_credentials(node, certificate, key)?;
    finish(node)
}

fn unfit(node: &Node) -> Result<Option<&'static str>> {
    let (certificate, ca) = (node.host.argument(CERTIFICATE), node.host.argument(paths::CA));
    if !openssl::is_pair(node.host, CERTIFICATE, KEY)? {
        return Ok(Some("it is for another key"));
    }
    let subject = ["x509", "-noout", "-subject", "-nameopt", "RFC2253", "-in", &certificate];
    if node.host.run_checked(&openssl::command(&subject))?.trim() != format!("subject=CN={USER}") {
        return Ok(Some("it is for another user"));
    }
    let verify = openssl::command(&["verify", "-purpose", "sslclient", "-CAfile", &ca, &certificate]);
    if !node.host.run(&verify)?.success() {
        return Ok(Some("the cluster's CA did not sign it for a client"));
    }
    Ok(openssl::ends_within(node.host, CERTIFICATE, DAYS)?.then_some("it ends too soon"))
}

/// Restarts kube-proxy with the new certificate, and removes what is left of the request.
fn finish(node: &Node) -> Result<RenewalOutcome> {
    kube_proxy::restart(node)?;
    forget(node)?;
    Ok(RenewalOutcome::Renewed)
}
