//! The one request for a certificate that nodes make and the master approves: for `system:kube-proxy`, as a
//! client, and nothing else.
//!
//! It travels as a `CertificateSigningRequest` of the API group `certificates.k8s.io`.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::base64;
use crate::kubeadm::Ways;
use crate::proxy::USER;

/// What the names of such objects begin with.
const PREFIX: &str = "hale-kube-proxy-";
/// The one use of the certificate.
const USAGES: [&str; 1] = ["client auth"];

/// The resource, for kubectl.
pub fn resource(ways: &Ways) -> String {
    format!("certificatesigningrequests.{}.certificates.k8s.io", ways.requests_api)
}

/// Where one object is approved.
pub fn approval_path(ways: &Ways, name: &str) -> String {
    let api = ways.requests_api;
    format!("/apis/certificates.k8s.io/{api}/certificatesigningrequests/{name}/approval")
}

/// The object's name, which stands for its content: the same request has the same name, another one another.
pub fn name(node: &str, pem: &str) -> String {
    let digest: String = Sha256::digest(pem).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{node}-{digest}")
}

/// The object that asks for a certificate.
pub fn object(ways: &Ways, name: &str, pem: &str) -> Value {
    let mut spec = json!({"request": base64::encode(pem.as_bytes()), "usages": USAGES});
    if let Some(signer) = ways.signer {
        spec["signerName"] = signer.into();
    }
    json!({
        "apiVersion": format!("certificates.k8s.io/{}", ways.requests_api),
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// How an object stands.
#[derive(Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody has decided, or nobody has signed.
    Pending,
    /// The certificate, as PEM.
    Issued(String),
    /// Denied, or not to be signed, and why.
    Refused(String),
}

/// How the object stands.
pub fn state(object: &Value) -> State {
    let status = &object["status"];
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let refusal =
        conditions.iter().find(|condition| condition["type"] == "Denied" || condition["type"] == "Failed");
    if let Some(refusal) = refusal {
        let word = |key: &str| refusal[key].as_str().unwrap_or_default().to_owned();
        return State::Refused(format!("{}: {}", word("type"), word("message")));
    }
    let certificate = status["certificate"].as_str().and_then(base64::decode);
    match certificate.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(pem) => State::Issued(pem),
        None => State::Pending,
    }
}

/// The request in an object that nobody has decided about and that says of itself what it must; `None` for any
/// other object. That `spec.username` is true, the API server vouches for. The request itself is for
/// [`is_exact`] to judge.
pub fn asked(ways: &Ways, object: &Value) -> Option<String> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let ours = object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with(PREFIX))
        && spec["username"] == USER
        && spec["usages"] == json!(USAGES)
        && spec["signerName"].as_str() == ways.signer
        && status["conditions"].as_array().is_none_or(Vec::is_empty)
        && status["certificate"].is_null();
    let pem = ours.then(|| spec["request"].as_str().and_then(base64::decode)).flatten()?;
    String::from_utf8(pem).ok()
}

/// Whether a request of this public key (DER) asks for the subject `CN=system:kube-proxy` and no more: no
/// organisation, no other name, no extension. What is not byte for byte the one thing that is expected (RFC
/// 2986, in DER and canonical PEM) is refused, so nothing has to be understood that somebody else wrote.
pub fn is_exact(pem: &str, public_key: &[u8]) -> bool {
    let common_name =
        element(SEQUENCE, &[element(OBJECT, &[0x55, 0x04, 0x03]), element(UTF8, USER.as_bytes())].concat());
    let subject = element(SEQUENCE, &element(SET, &common_name));
    let parts = [element(INTEGER, &[0]), subject, public_key.to_vec(), element(ATTRIBUTES, &[])];
    let information = element(SEQUENCE, &parts.concat());
    let Some(der) = der(pem) else { return false };
    // Behind it are the signature and its algorithm, which openssl(1) has verified.
    content(&der).is_some_and(|content| content.starts_with(&information))
}

const INTEGER: u8 = 0x02;
const OBJECT: u8 = 0x06;
const UTF8: u8 = 0x0c;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]` of a request: its attributes, where extensions would be.
const ATTRIBUTES: u8 = 0xa0;

/// An element of DER (X.690, 8.1): tag, length, content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut bytes = vec![tag];
    match length {
        [] => bytes.push(0),
        [short @ 0..0x80] => bytes.push(*short),
        // At most eight bytes.
        long => bytes.extend([0x80 | long.len() as u8].iter().chain(long)),
    }
    bytes.extend_from_slice(content);
    bytes
}

/// The content of a sequence that is all of `der`.
fn content(der: &[u8]) -> Option<&[u8]> {
    // Its length takes one byte, or more by the low bits of the first.
    let first = usize::from(*der.get(1)?);
    let content = der.get(if first < 0x80 { 2 } else { 2 + (first & 0x7f) }..)?;
    (element(SEQUENCE, content) == der).then_some(content)
}

/// The bytes of a request in the one form of PEM that openssl(1) writes (RFC 7468): lines of 64, no more text.
fn der(pem: &str) -> Option<Vec<u8>> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    let canonical = format!(
        "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
        lines.join("\n")
    );
    if pem == canonical { base64::decode(&body) } else { None }
}
