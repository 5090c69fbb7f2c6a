//! From a certificate that ends soon to the next one, with real certificates: a node asks, the master approves,
//! somebody signs, the node takes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::config::role::RoleKind;
use crate::host::{Command, RealHost};
use crate::testing::fake::ENDS_SOON;
use crate::text::base64;

/// Runs a real openssl that must end well.
pub(super) fn openssl(folder: &Path, arguments: &str) -> String {
    let words: Vec<&str> = arguments.split(' ').collect();
    let full: Vec<String> =
        words.iter().map(|word| word.replace('@', &format!("{}/", folder.display()))).collect();
    let words: Vec<&str> = full.iter().map(String::as_str).collect();
    RealHost::new(None)
        .run_checked(&Command::new("/usr/bin/openssl", &words))
        .expect("openssl: Debian's package openssl")
}

/// A CA in a folder, its certificate and key.
pub(super) fn authority() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=kubernetes";
    openssl(folder.path(), &format!("{request} -keyout @ca.key -out @ca.crt -days 3650"));
    folder
}

/// Signs a request as the controller manager does, for so many days.
fn sign(authority: &Path, request: &str, days: u32, usage: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("request"), request).unwrap();
    std::fs::write(folder.path().join("usage"), format!("extendedKeyUsage={usage}\n")).unwrap();
    let ca = format!("-CA {0}/ca.crt -CAkey {0}/ca.key", authority.display());
    openssl(folder.path(), &format!("x509 -req -in @request {ca} -set_serial 1 -extfile @usage -days {days}"))
}

/// The cluster's CA, and kube-proxy's first certificate and key, which are good for 20 days.
static CLUSTER: LazyLock<(TempDir, String, String)> = LazyLock::new(|| {
    let authority = authority();
    let certificate = sign(authority.path(), &request(authority.path(), SUBJECT), 20, "clientAuth");
    let key = std::fs::read_to_string(authority.path().join("key")).unwrap();
    (authority, certificate, key)
});

const SUBJECT: &str = "-subj /CN=system:kube-proxy";

/// A request with a key of its own, in the folder.
pub(super) fn request(folder: &Path, subject: &str) -> String {
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(folder, &format!("req -new {curve} -keyout @key {subject} -out @csr"));
    std::fs::read_to_string(folder.join("csr")).unwrap()
}

/// A node whose kube-proxy's certificate ends soon.
fn ending(minor: &str) -> (FakeHost, RoleConfig) {
    let (authority, certificate, key) = &*CLUSTER;
    let (host, role) =
        worker(minor, &base64::encode(certificate.as_bytes()), &base64::encode(key.as_bytes()));
    host.openssl.set(true);
    host.state.borrow_mut().objects.insert("hale:kube-proxy-renewal".into());
    let ca = std::fs::read_to_string(authority.path().join("ca.crt")).unwrap();
    host.make("/etc/kubernetes/pki/ca.crt", &ca);
    (host, role)
}

fn step(host: &FakeHost, role: &RoleConfig) -> Result<RenewalOutcome> {
    let config = load_config(host, role).unwrap();
    renew(&Node::new(host, role, &config).unwrap(), false)
}

/// One run of the master's timer over these requests.
pub(super) fn approve(role: &RoleConfig, requests: &mut BTreeMap<String, Value>) {
    let mut role = role.clone();
    role.role = RoleKind::Master;
    let master = FakeHost::of(&role, "10.0.3.1");
    master.openssl.set(true);
    master.state.borrow_mut().objects.insert("elsewhere".into());
    master.state.borrow_mut().enabled.extend(["crio.service".into(), "kubelet.service".into()]);
    master.reboot();
    master.state.borrow_mut().requests.append(requests);
    let config = NodeConfig::default();
    approve::approve(&Node::new(&master, &role, &config).unwrap()).unwrap();
    requests.append(&mut master.state.borrow_mut().requests);
}

pub(super) fn is_approved(object: &Value) -> bool {
    object["status"]["conditions"][0]["type"] == "Approved"
}

/// What the cluster does between two runs: the master approves, the controller manager signs.
fn cluster(host: &FakeHost, role: &RoleConfig) {
    let mut state = host.state.borrow_mut();
    approve(role, &mut state.requests);
    for object in state.requests.values_mut().filter(|object| is_approved(object)) {
        issue(object, |pem| sign(CLUSTER.0.path(), pem, 365, "clientAuth"));
    }
}

/// Gives a request the certificate that somebody makes of it.
fn issue(object: &mut Value, certificate: impl Fn(&str) -> String) {
    let pem = base64::decode(object["spec"]["request"].as_str().unwrap()).unwrap();
    let pem = certificate(std::str::from_utf8(&pem).unwrap());
    object["status"]["certificate"] = base64::encode(pem.as_bytes()).into();
}

/// The kubeconfig's two credentials, and that they are a pair.
fn credentials(host: &FakeHost) -> (String, String) {
    let text = files::need(host, kube_proxy::KUBECONFIG).unwrap();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
        String::from_utf8(base64::decode(line).unwrap()).unwrap()
    };
    let (certificate, key) = (of("client-certificate-data: "), of("client-key-data: "));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("crt"), &certificate).unwrap();
    std::fs::write(folder.path().join("key"), &key).unwrap();
    let public = openssl(folder.path(), "x509 -noout -pubkey -in @crt");
    assert_eq!(public, openssl(folder.path(), "pkey -pubout -in @key"));
    (certificate, key)
}

#[test]
fn a_nodes_kube_proxy_gets_its_next_certificate_by_itself() {
    for (minor, api, signer) in
        [("1.17.17", "v1beta1", None), ("1.20.2", "v1", Some("kubernetes.io/kube-apiserver-client"))]
    {
        let (host, role) = ending(minor);
        let before = (credentials(&host), files::need(&host, kube_proxy::KUBECONFIG).unwrap());
        assert_eq!(step(&host, &role).unwrap(), RenewalOutcome::Requested);
        assert_eq!(step(&host, &role).unwrap(), RenewalOutcome::Requested, "nobody has decided");
        let requests = host.state.borrow().requests.clone();
        let (name, object) = requests.first_key_value().unwrap();
        assert!(requests.len() == 1 && name.starts_with("hale-kube-proxy-node-1-"), "{name}");
        assert_eq!(object["apiVersion"], format!("certificates.k8s.io/{api}"));
        assert_eq!(object["spec"]["signerName"].as_str(), signer);
        cluster(&host, &role);
        assert_eq!(step(&host, &role).unwrap(), RenewalOutcome::Renewed);
        let after = credentials(&host);
        assert!(after.0 != before.0.0 && after.1 != before.0.1, "another certificate of another key");
        let text = files::need(&host, kube_proxy::KUBECONFIG).unwrap();
        let others =
            |text: &str| text.lines().filter(|line| !line.contains("-data: ")).collect::<Vec<_>>().join("\n");
        assert_eq!(others(&text), others(&before.1));
        assert!(files::check_private(&host, kube_proxy::KUBECONFIG).is_ok());
        assert!(host.commands.borrow().last().unwrap().ends_with("try-restart kube-proxy.service"));
        assert!(!host.tree().keys().any(|path| path.contains("renewal")), "something is left");
        assert_eq!(step(&host, &role).unwrap(), RenewalOutcome::NotDue);
    }
}

/// Runs until the next certificate is in use, with a cut at a change and a reboot or another run after it. Says
/// whether there was a cut.
fn cut(at: usize, reboot: bool) -> bool {
    let (host, role) = worker("1.20.2", &base64::encode(ENDS_SOON.as_bytes()), "eA==");
    host.state.borrow_mut().objects.insert("hale:kube-proxy-renewal".into());
    let first = files::need(&host, kube_proxy::KUBECONFIG).unwrap();
    host.fuel.set(at);
    let mut was_cut = false;
    for _ in 0..8 {
        let result = step(&host, &role);
        if result.is_err() {
            was_cut = true;
            host.fuel.set(usize::MAX);
            if reboot {
                host.reboot();
            }
        }
        let changed = files::need(&host, kube_proxy::KUBECONFIG).unwrap() != first;
        // A reboot starts kube-proxy with what is there.
        if changed && matches!(result, Ok(RenewalOutcome::Renewed | RenewalOutcome::NotDue)) {
            let restarted = host.commands.borrow().iter().any(|command| command.contains("try-restart"));
            assert!(restarted || (was_cut && reboot), "cut at change {at}");
            assert!(!host.tree().keys().any(|path| path.contains("renewal.")), "cut at change {at}");
            return was_cut;
        }
        let mut state = host.state.borrow_mut();
        state.requests.values_mut().for_each(|object| issue(object, |_| "good for long".to_owned()));
    }
    panic!("cut at change {at}: no end");
}

#[test]
fn a_renewal_that_is_cut_anywhere_goes_on_or_begins_anew() {
    for reboot in [true, false] {
        let cuts = (0..).take_while(|at| cut(*at, reboot)).count();
        assert!(cuts >= 8, "{cuts}");
    }
}

#[test]
fn an_unfit_certificate_is_not_taken() {
    let check = |certificate: &dyn Fn(&Path, &str) -> String, expect: &str| {
        let (host, role) = ending("1.20.2");
        let before = credentials(&host);
        step(&host, &role).unwrap();
        for object in host.state.borrow_mut().requests.values_mut() {
            issue(object, |pem| certificate(CLUSTER.0.path(), pem));
        }
        let message = step(&host, &role).unwrap_err();
        assert!(message.class() == Class::Integrity && message.to_string().contains(expect), "{message}");
        assert_eq!(credentials(&host), before);
        assert!(!host.tree().keys().any(|path| path.contains("renewal.")), "{message}");
        assert_eq!(step(&host, &role).unwrap(), RenewalOutcome::Requested, "anew");
    };
    let client = "clientAuth";
    let other = |own: &Path, _: &str| sign(own, &request(authority().path(), SUBJECT), 365, client);
    check(&other, "another key");
    check(&|_, asked| sign(authority().path(), asked, 365, client), "the cluster's CA did not sign it");
    check(&|own, asked| sign(own, asked, 365, "serverAuth"), "the cluster's CA did not sign it");
    check(&|own, asked| sign(own, asked, 30, client), "ends too soon");
    check(&|_, _| "nonsense".to_owned(), "another key");
    // Signed for the key, with another name.
    let renamed = |own: &Path, asked: &str| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("request"), asked).unwrap();
        let ca = format!("-CA {0}/ca.crt -CAkey {0}/ca.key -set_serial 1", own.display());
        openssl(folder.path(), &format!("x509 -req -in @request {ca} -subj /CN=system:masters"))
    };
    check(&renamed, "another user");
}

#[test]
fn a_refused_request_is_told_of_and_a_lost_one_handed_in_again() {
    let (host, role) = ending("1.17.17");
    step(&host, &role).unwrap();
    let name = host.state.borrow().requests.keys().next().unwrap().clone();
    host.state.borrow_mut().requests.clear();
    assert_eq!(step(&host, &role).unwrap(), RenewalOutcome::Requested);
    assert!(host.state.borrow().requests.contains_key(&name), "the same request");
    for object in host.state.borrow_mut().requests.values_mut() {
        object["status"] = serde_json::json!({"conditions": [{"type": "Denied", "message": "not today"}]});
    }
    let message = step(&host, &role).unwrap_err().to_string();
    assert!(message.contains("was refused: Denied: not today; ask who refused it"), "{message}");
    assert_eq!(step(&host, &role).unwrap(), RenewalOutcome::Requested, "anew");
    cluster(&host, &role);
    assert_eq!(step(&host, &role).unwrap(), RenewalOutcome::Renewed);
    // An API server that is away is asked again by the timer.
    let (host, role) = ending("1.17.17");
    host.state.borrow_mut().objects.remove("elsewhere");
    let message = step(&host, &role).unwrap_err();
    assert!(
        message.class() == Class::Transient && message.to_string().contains("the timer tries again"),
        "{message}"
    );
}
