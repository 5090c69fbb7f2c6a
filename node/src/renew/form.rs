//! Forms of certificate requests, to the last byte.
//!
//! What is not byte for byte the one thing that is expected (RFC 2986, in DER and canonical PEM) is refused, so nothing
//! has to be understood that somebody else wrote.

use std::net::Ipv4Addr;

use crate::config::DnsLabel;
use crate::kubernetes::kube_proxy::USER;
use crate::kubernetes::kubeadm::dialect::KubeadmDialect;
use crate::text::base64;

/// The form of a certificate that nodes ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// kube-proxy's next certificate, as a client (openssl(1) makes the request).
    Proxy,
    /// A new node's, as a client: with it the node is a member (the kubelet's bootstrap makes the request).
    Member(DnsLabel),
    /// A member's, as a server, for its name and its address alone (the kubelet makes the request).
    Server(DnsLabel, Ipv4Addr),
}

/// Usages that the kubelet asks for, as client or server, in the order of the alphabet.
pub(crate) const CLIENT: [&str; 3] = ["client auth", "digital signature", "key encipherment"];
pub(crate) const SERVER: [&str; 3] = ["digital signature", "key encipherment", "server auth"];

impl Form {
    /// Returns the certificate's usages, in the order of the alphabet.
    pub fn usages(&self) -> &'static [&'static str] {
        match self {
            Self::Proxy => &CLIENT[..1],
            Self::Member(_) => &CLIENT,
            Self::Server(..) => &SERVER,
        }
    }

    /// Returns the name of its signer, where requests name one.
    pub fn signer(&self, dialect: &KubeadmDialect) -> Option<&'static str> {
        dialect.names_signers.then_some(match self {
            Self::Proxy => "kubernetes.io/kube-apiserver-client",
            Self::Member(_) => "kubernetes.io/kube-apiserver-client-kubelet",
            Self::Server(..) => "kubernetes.io/kubelet-serving",
        })
    }

    /// Returns whether a request of this public key (DER) asks for exactly this form.
    pub fn is_exact(&self, pem: &str, public_key: &[u8]) -> bool {
        let Some(der) = der(pem) else { return false };
        // Behind it are the signature and its algorithm, which openssl(1) has verified.
        content(&der).is_some_and(|content| content.starts_with(&self.information(public_key)))
    }

    /// Encodes `CertificationRequestInfo`: version, subject, key, attributes.
    pub(crate) fn information(&self, public_key: &[u8]) -> Vec<u8> {
        let parts = [
            element(INTEGER, &[0]),
            self.subject(),
            public_key.to_vec(),
            element(ATTRIBUTES, &self.attributes()),
        ];
        element(SEQUENCE, &parts.concat())
    }

    fn subject(&self) -> Vec<u8> {
        let names = match self {
            Self::Proxy => attribute(COMMON_NAME, UTF8, USER),
            // Go writes what fits as a PrintableString, and the organisation first (crypto/x509/pkix).
            Self::Member(name) | Self::Server(name, _) => [
                attribute(ORGANISATION, PRINTABLE, "system:nodes"),
                attribute(COMMON_NAME, PRINTABLE, &format!("system:node:{name}")),
            ]
            .concat(),
        };
        element(SEQUENCE, &names)
    }

    /// Encodes the one attribute that asks for extensions (RFC 2985, 5.4.2), with the one extension of other names (RFC
    /// 5280, 4.2.1.6); none where there are none.
    fn attributes(&self) -> Vec<u8> {
        let Self::Server(name, address) = self else { return Vec::new() };
        let names =
            [element(DNS_NAME, name.as_str().as_bytes()), element(ADDRESS, &address.octets())].concat();
        let names = element(OCTETS, &element(SEQUENCE, &names));
        let extension = element(SEQUENCE, &[element(OBJECT, SUBJECT_ALT_NAME), names].concat());
        let extensions = element(SET, &element(SEQUENCE, &extension));
        element(SEQUENCE, &[element(OBJECT, EXTENSION_REQUEST), extensions].concat())
    }
}

/// Encodes one name of a subject.
fn attribute(kind: &[u8], tag: u8, text: &str) -> Vec<u8> {
    element(SET, &element(SEQUENCE, &[element(OBJECT, kind), element(tag, text.as_bytes())].concat()))
}

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANISATION: &[u8] = &[0x55, 0x04, 0x0a];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// 1.2.840.113549.1.9.14.
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]` of a request: its attributes, where extensions would be.
const ATTRIBUTES: u8 = 0xa0;
/// `[2]` and `[7]` of other names: a host's, an address.
const DNS_NAME: u8 = 0x82;
const ADDRESS: u8 = 0x87;

/// Encodes an element of DER (X.690, 8.1): tag, length, content.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
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

/// Returns the content of a sequence that is all of `der`.
fn content(der: &[u8]) -> Option<&[u8]> {
    // Its length takes one byte, or more by the low bits of the first.
    let first = usize::from(*der.get(1)?);
    let content = der.get(if first < 0x80 { 2 } else { 2 + (first & 0x7f) }..)?;
    (element(SEQUENCE, content) == der).then_some(content)
}

/// Decodes a request in the one form of PEM that openssl(1) writes (RFC 7468): lines of 64, no more text.
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
