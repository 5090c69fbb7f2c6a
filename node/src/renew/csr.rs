//! Requests for certificates as they travel: `CertificateSigningRequest` of the API group `certificates.k8s.io`. What is
//! in one is [`Form`]'s to say.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::form::Form;
use crate::kubernetes::kubeadm::dialect::KubeadmDialect;
use crate::text::base64;

/// Prefix of the names of objects that ask for kube-proxy's certificate.
const PREFIX: &str = "hale-kube-proxy-";

/// Returns the resource, for kubectl.
pub fn resource(dialect: &KubeadmDialect) -> String {
    format!("certificatesigningrequests.{}.certificates.k8s.io", dialect.requests_api)
}

/// Returns the API path at which an object is approved.
pub fn approval_path(dialect: &KubeadmDialect, name: &str) -> String {
    let api = dialect.requests_api;
    format!("/apis/certificates.k8s.io/{api}/certificatesigningrequests/{name}/approval")
}

/// Returns the object's name, which is made from its content: the same request has the same name, another one another.
pub fn name(node: &str, pem: &str) -> String {
    let digest: String = Sha256::digest(pem).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{node}-{digest}")
}

/// Makes the object that asks for a certificate of this form.
pub fn object(dialect: &KubeadmDialect, form: &Form, name: &str, pem: &str) -> Value {
    let mut spec = json!({"request": base64::encode(pem.as_bytes()), "usages": form.usages()});
    if let Some(signer) = form.signer(dialect) {
        spec["signerName"] = signer.into();
    }
    json!({
        "apiVersion": format!("certificates.k8s.io/{}", dialect.requests_api),
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// The state of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum RequestState {
    /// Nobody has decided, or nobody has signed.
    Pending,
    /// The certificate, as PEM.
    Issued(String),
    /// Denied, or not to be signed, and why.
    Refused(String),
}

/// Returns the state of a request.
pub fn state(object: &Value) -> RequestState {
    let status = &object["status"];
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let refusal =
        conditions.iter().find(|condition| condition["type"] == "Denied" || condition["type"] == "Failed");
    if let Some(refusal) = refusal {
        let word = |key: &str| refusal[key].as_str().unwrap_or_default().to_owned();
        return RequestState::Refused(format!("{}: {}", word("type"), word("message")));
    }
    let certificate = status["certificate"].as_str().and_then(base64::decode);
    match certificate.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(pem) => RequestState::Issued(pem),
        None => RequestState::Pending,
    }
}

/// Returns whether nobody has decided about a request.
pub fn is_open(object: &Value) -> bool {
    let status = &object["status"];
    status["conditions"].as_array().is_none_or(Vec::is_empty) && status["certificate"].is_null()
}

/// Returns the PEM of an open request if its object says of itself what one of this form must; else `None`. That
/// `spec.username` is true, the API server vouches for, and who may ask for what is the caller's to know. The request
/// itself is for [`Form::is_exact`] to judge.
pub fn request(dialect: &KubeadmDialect, form: &Form, object: &Value) -> Option<String> {
    let spec = &object["spec"];
    let mut usages: Vec<_> = spec["usages"].as_array()?.iter().filter_map(Value::as_str).collect();
    usages.sort_unstable();
    let named = object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with(PREFIX));
    let ours = (named || *form != Form::Proxy)
        && usages == form.usages()
        && spec["usages"].as_array().is_some_and(|all| all.len() == usages.len())
        && spec["signerName"].as_str() == form.signer(dialect)
        && is_open(object);
    let pem = ours.then(|| spec["request"].as_str().and_then(base64::decode)).flatten()?;
    String::from_utf8(pem).ok()
}
