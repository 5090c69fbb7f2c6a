//! CoreDNS, and one DNS question through the service address: kube-proxy, CoreDNS and the pod network in one answer.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::fault::{Fault, Result};
use crate::kubernetes::context::Node;
use crate::kubernetes::kubeadm;

/// Has kubeadm install CoreDNS.
pub(super) fn apply(node: &Node) -> Result<()> {
    kubeadm::init_phases(node, &[&["addon", "coredns"]])
}

/// Resolves the API server's name through the cluster's DNS service; returns `SERVER says that NAME is ADDRESS`.
/// Another address is an error.
pub fn query(node: &Node) -> Result<String> {
    let cluster = &node.role.cluster;
    let (server, expected) = (cluster.dns_address(), cluster.api_service_address());
    let name = format!("kubernetes.default.svc.{}", cluster.dns_domain);
    let answer = node.host.datagram(SocketAddrV4::new(server, 53), &question(&name));
    let answer = answer.map_err(|e| Fault::transient(format!("{server} does not answer for {name}: {e}")))?;
    match address(&answer) {
        Some(found) if found == expected => Ok(format!("{server} says that {name} is {found}")),
        // A CoreDNS that has not heard of its services yet says nothing, too.
        found => Err(Fault::transient(format!("{server} says that {name} is {found:?}, not {expected}"))),
    }
}

/// Encodes a query (RFC 1035, 4.1): a header with one question, type A, class IN, recursion desired.
fn question(name: &str) -> Vec<u8> {
    let mut bytes = vec![0x68, 0x61, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend(label.bytes().take(63));
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// Returns the address of the first A record of an answer to [`question`].
fn address(answer: &[u8]) -> Option<Ipv4Addr> {
    let word = |at: usize| Some(u16::from_be_bytes([*answer.get(at)?, *answer.get(at + 1)?]));
    let (ours, reply) = (word(0)? == 0x6861, answer.get(2)? & 0x80 != 0);
    let mut at = after_name(answer, 12)? + 4;
    for _ in 0..word(6)?.min(16) {
        at = after_name(answer, at)?;
        let (kind, length) = (word(at)?, usize::from(word(at + 8)?));
        let data = answer.get(at + 10..at + 10 + length)?;
        if kind == 1 && ours && reply {
            return <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from);
        }
        at += 10 + length;
    }
    None
}

/// Returns the offset behind a name: labels up to an empty one, or to a pointer (RFC 1035, 4.1.4).
fn after_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

/// A name server's answer to [`question`].
#[cfg(test)]
pub(crate) fn reply(question: &[u8], address: Ipv4Addr) -> Vec<u8> {
    let mut answer = question.to_vec();
    (answer[2], answer[7]) = (0x85, 1);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
    answer.extend(address.octets());
    answer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_read() {
        let mut answer =
            reply(&question("kubernetes.default.svc.cluster.local"), Ipv4Addr::new(10, 96, 0, 1));
        assert_eq!(address(&answer), Some(Ipv4Addr::new(10, 96, 0, 1)));
        answer[0] = 0;
        assert_eq!(address(&answer), None, "another's answer");
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = address(&bytes);
        }
    }
}
