//! What the master approves: one form of request, and no other.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::flow::{approve, is_approved, request};
use super::*;
use crate::kubernetes::kubeadm::dialect::dialect;
use crate::renew::csr as format;
use crate::renew::form::Form;
use crate::text::base64;

const SUBJECT: &str = "-subj /CN=system:kube-proxy";

/// Whether the master approves a request, alone, in an object with one thing changed.
fn approves(version: &str, pem: &str, change: &dyn Fn(&mut Value)) -> bool {
    let role =
        include_str!("../../../examples/role.toml").replacen("\"1.17.17\"", &format!("{version:?}"), 1);
    let role = RoleConfig::parse(&role).unwrap();
    let name = format::name("node-1", pem);
    let mut object = format::object(dialect(role.kubernetes.minor()), &Form::Proxy, &name, pem);
    object["spec"]["username"] = kube_proxy::USER.into();
    change(&mut object);
    let mut requests = BTreeMap::from([(name.clone(), object)]);
    approve(&role, &mut requests);
    is_approved(&requests[&name])
}

#[test]
fn objects_that_say_anything_else_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let pem = request(folder.path(), SUBJECT);
    for version in ["1.17.17", "1.20.2"] {
        let check = |expect: bool, change: &dyn Fn(&mut Value)| {
            assert_eq!(approves(version, &pem, change), expect, "{version}");
        };
        check(true, &|_| {});
        check(true, &|object| object["status"] = json!({}));
        check(true, &|object| object["status"] = json!({"conditions": []}));
        check(false, &|object| object["metadata"]["name"] = "csr-1".into());
        check(false, &|object| object["spec"]["username"] = "system:node:node-1".into());
        check(false, &|object| object["spec"]["usages"] = json!(["client auth", "server auth"]));
        check(false, &|object| object["spec"]["usages"] = json!(["server auth"]));
        check(false, &|object| object["spec"]["usages"] = json!([]));
        check(false, &|object| object["spec"]["signerName"] = "kubernetes.io/kubelet-serving".into());
        check(false, &|object| object["spec"]["request"] = "!".into());
        check(false, &|object| object["status"] = json!({"conditions": [{"type": "Denied"}]}));
        check(false, &|object| object["status"] = json!({"certificate": "Zm9v"}));
    }
}

#[test]
fn requests_that_ask_for_anything_else_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let check = |arguments: &str, expect: bool| {
        let pem = request(folder.path(), arguments);
        assert_eq!(approves("1.20.2", &pem, &|_| {}), expect, "{arguments}");
    };
    check(SUBJECT, true);
    check("-subj /CN=system:kube-controller-manager", false);
    check("-subj /O=system:masters/CN=system:kube-proxy", false);
    check("-subj /CN=system:kube-proxy/O=system:masters", false);
    check("-subj /CN=system:kube-proxy/CN=admin", false);
    check("-multivalue-rdn -subj /CN=system:kube-proxy+O=system:masters", false);
    check("-subj /CN=system:kube-proxy -addext subjectAltName=DNS:kubernetes", false);
    check("-subj /CN=system:kube-proxy -addext basicConstraints=CA:TRUE", false);
}

#[test]
fn other_bytes_of_the_same_request_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let pem = request(folder.path(), SUBJECT);
    let der = base64::of_pem(&pem).unwrap();
    let write = |der: &[u8]| {
        let text = base64::encode(der);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
            lines.join("\n")
        )
    };
    let check = |pem: &str, expect: bool| assert_eq!(approves("1.20.2", pem, &|_| {}), expect, "{pem}");
    check(&write(&der), true);
    let mut forged = der.clone();
    *forged.last_mut().unwrap() ^= 1;
    check(&write(&forged), false);
    check(&write(&[der.as_slice(), &[0]].concat()), false);
    check(&write(&der[..der.len() - 1]), false);
    check(&format!("{pem}{pem}"), false);
    check(&format!("a text before it\n{pem}"), false);
    check(&pem.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"), false);
    check("", false);
}
