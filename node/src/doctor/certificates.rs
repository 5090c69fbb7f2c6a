//! Every certificate that the node lives by, by one table: files, and those in kubeconfigs.

use std::fs;

use toml::value::Datetime;
use zeroize::Zeroizing;

use crate::config::Timestamp;
use crate::fault::{Fault, Result};
use crate::kubernetes::context::Node;
use crate::kubernetes::{kube_proxy, paths};
use crate::renew;
use crate::text::base64;

use super::finding::Evidence;

/// Files with certificates, on every node. The kubelet's own, which it renews itself, is in its kubeconfig or named
/// there.
const EVERYWHERE: [&str; 2] = [paths::CA, paths::KUBELET];
/// The kubelet's serving certificates: one that it made itself, or one that the cluster signed.
const SERVING: [&str; 2] =
    ["/var/lib/kubelet/pki/kubelet.crt", "/var/lib/kubelet/pki/kubelet-server-current.pem"];
/// Files with certificates, on the master: kubeadm's (`kubeadm certs check-expiration` and its CAs).
const MASTER: [&str; 12] = [
    "/etc/kubernetes/pki/apiserver.crt",
    "/etc/kubernetes/pki/apiserver-etcd-client.crt",
    "/etc/kubernetes/pki/apiserver-kubelet-client.crt",
    "/etc/kubernetes/pki/front-proxy-ca.crt",
    "/etc/kubernetes/pki/front-proxy-client.crt",
    "/etc/kubernetes/pki/etcd/ca.crt",
    "/etc/kubernetes/pki/etcd/healthcheck-client.crt",
    "/etc/kubernetes/pki/etcd/peer.crt",
    "/etc/kubernetes/pki/etcd/server.crt",
    paths::ADMIN,
    "/etc/kubernetes/controller-manager.conf",
    "/etc/kubernetes/scheduler.conf",
];

pub(super) fn check(node: &Node) -> Result<Evidence> {
    let mut paths = EVERYWHERE.to_vec();
    paths.extend(SERVING.iter().filter(|path| node.host.path(path).exists()));
    paths.extend(MASTER.iter().filter(|_| node.role.is_master()));
    paths.extend(node.role.kube_proxy.here.then_some(kube_proxy::KUBECONFIG));
    let (mut exceptions, mut left) = (Vec::new(), Vec::new());
    for path in paths {
        let days = match ends(node, path) {
            Ok(end) => (end - node.host.now()).div_euclid(86_400),
            Err(fault) => {
                exceptions.push(fault.to_string());
                continue;
            }
        };
        match u64::try_from(days) {
            Err(_) => exceptions.push(format!("{path} ended {} days ago: `hale renew`", -days)),
            Ok(days) if days < renew::WARNING => {
                exceptions.push(format!("{path} ends within {} days: `hale renew`", days + 1));
            }
            Ok(days) => left.push(format!("{} {days}", path.rsplit('/').next().unwrap_or(path))),
        }
    }
    Ok(Evidence::new(exceptions, format!("days left: {}", left.join(", "))))
}

/// Returns when the certificate of a file ends, in seconds since 1970: its own, a kubeconfig's, or one of a file that a
/// kubeconfig names.
fn ends(node: &Node, path: &str) -> Result<i64> {
    // The kubelet's own is behind a link, beside its key.
    let read = |path: &str| {
        let text = fs::read_to_string(node.host.path(path)).map(Zeroizing::new);
        text.map_err(|e| Fault::io("read", path, e))
    };
    let mut text = read(path)?;
    let field = |text: &str, name: &str| {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(name));
        found.map(|value| value.trim().to_owned())
    };
    let named = field(&text, "client-certificate: ");
    if let Some(file) = &named {
        text = read(file)?;
    }
    if let Some(data) = field(&text, "client-certificate-data: ") {
        let pem = base64::decode(&data).and_then(|pem| String::from_utf8(pem).ok());
        text = Zeroizing::new(pem.unwrap_or_default());
    }
    let from = named.as_deref().unwrap_or(path);
    der(&text)
        .as_deref()
        .and_then(not_after)
        .ok_or_else(|| Fault::machine(format!("{from} has no certificate")))
}

/// Decodes the first certificate of a PEM text (RFC 7468).
fn der(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (block, _) = rest.split_once("-----END CERTIFICATE-----")?;
    base64::decode(&block.split_whitespace().collect::<String>())
}

/// Splits off an element of DER (X.690, 8.1): its tag, its content, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let count = usize::from(first & 0x7f);
        let digits = rest.get(..count).filter(|_| (1..=3).contains(&count))?;
        length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        rest = rest.get(count..)?;
    }
    Some((tag, rest.get(..length)?, rest.get(length..)?))
}

/// Returns `notAfter` of a certificate, in seconds since 1970 (RFC 5280, 4.1).
fn not_after(certificate: &[u8]) -> Option<i64> {
    let (_, whole, _) = element(certificate)?;
    let (_, mut rest, _) = element(whole)?;
    // A version, if there is one, has a tag of its own; then serial number, algorithm, issuer, validity.
    if element(rest)?.0 == 0xa0 {
        rest = element(rest)?.2;
    }
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (tag, time, _) = element(element(validity)?.2)?;
    let text = std::str::from_utf8(time).ok()?.strip_suffix('Z').filter(|text| text.is_ascii())?;
    // RFC 5280, 4.1.2.5: two digits of the year up to 2049, four from then on.
    let year = match (tag, text.len()) {
        (0x17, 12) => {
            if text < "5" {
                "20"
            } else {
                "19"
            }
        }
        (0x18, 14) => "",
        _ => return None,
    };
    let all = format!("{year}{text}");
    let part = |from: usize| all.get(from..from + 2).unwrap_or_default();
    let (date, clock) = (&all[..4], (part(8), part(10), part(12)));
    let text = format!("{date}-{}-{}T{}:{}:{}Z", part(4), part(6), clock.0, clock.1, clock.2);
    let moment = Timestamp::try_from(text.parse::<Datetime>().ok()?).ok()?;
    Some(moment.seconds())
}

/// As much of a certificate as is read here, ending at a moment, as PEM.
#[cfg(test)]
pub(crate) fn ending(at: i64) -> String {
    let wrap = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    let digits: String =
        Timestamp::from_seconds(at).unwrap().to_string().chars().filter(char::is_ascii_digit).collect();
    let time = wrap(0x18, format!("{digits}Z").as_bytes());
    let validity = wrap(0x30, &[time.clone(), time].concat());
    let head = [wrap(0xa0, &[2, 1, 2]), wrap(2, &[7]), wrap(0x30, &[]), wrap(0x30, &[])].concat();
    let whole = wrap(0x30, &wrap(0x30, &[head, validity].concat()));
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64::encode(&whole))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// openssl(1) says the same of what it made itself, before and after 2050.
    #[test]
    fn an_end_is_read_as_openssl_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let openssl = |arguments: &[&str]| {
            let ran = Command::new("openssl").args(arguments).current_dir(folder.path()).output().unwrap();
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
            String::from_utf8(ran.stdout).unwrap()
        };
        for days in ["1", "365", "20000"] {
            openssl(&[
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "crt", "-subj",
                "/CN=x", "-days", days,
            ]);
            let text = fs::read_to_string(folder.path().join("crt")).unwrap();
            let found =
                Timestamp::from_seconds(not_after(&der(&text).unwrap()).unwrap()).unwrap().to_string();
            let said = openssl(&["x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in", "crt"]);
            assert_eq!(said.trim(), format!("notAfter={}", found.replace('T', " ")));
        }
        assert_eq!(not_after(&der(&ending(1_795_000_000)).unwrap()), Some(1_795_000_000));
    }

    proptest! {
        #[test]
        fn no_certificate_panics(bytes in prop::collection::vec(any::<u8>(), 0..80), at in 0usize..60, to: u8) {
            let _ = not_after(&bytes);
            let mut near = der(&ending(1_795_000_000)).unwrap();
            let at = at % near.len();
            near[at] = to;
            let _ = not_after(&near);
        }
    }
}
