//! Joining: an API server on loopback that knows one token and one CA, as far as kubeadm's discovery asks.
//! Without a real kubeadm its stand-in says what the real one was recorded to say in the same case.

use macro_rules_attribute::apply;
use tests::trial;

use super::bootstrap::{prepare, wait_for};
use super::machine::{Machine, Root};

/// Serves `kube-public/cluster-info`, signed with the token `abcdef.0123456789abcdef` (a detached JWS: RFC 7515,
/// appendix F), and writes the pin of its CA.
const SERVER: &str = r#"
mkdir -p /run/api/api/v1/namespaces/kube-public/configmaps
cd /run/api
exec 2>log
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=kubernetes -days 30
openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=kube-apiserver
echo subjectAltName=IP:127.0.0.1 >san
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 30 -extfile san
openssl x509 -noout -pubkey -in ca.crt | openssl pkey -pubin -outform der | sha256sum | cut -c1-64 >pin
url64() { openssl base64 -A | tr '+/' '-_' | tr -d =; }
ca=$(openssl base64 -A -in ca.crt)
config='{"apiVersion":"v1","kind":"Config","clusters":[{"name":"","cluster":{"certificate-authority-data":"'$ca'","server":"https://127.0.0.1:6443"}}]}'
head=$(printf '{"alg":"HS256","kid":"abcdef"}' | url64)
body=$(printf %s "$config" | url64)
key=$(printf %s 0123456789abcdef | od -An -tx1 | tr -d ' \n')
mac=$(printf %s "$head.$body" | openssl dgst -sha256 -mac HMAC -macopt hexkey:$key -binary | url64)
text=$(printf %s "$config" | sed 's/"/\\"/g')
answer='{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"cluster-info","namespace":"kube-public"},"data":{"jws-kubeconfig-abcdef":"'$head..$mac'","kubeconfig":"'$text'"}}'
printf 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %s\r\nConnection: close\r\n\r\n%s' ${#answer} "$answer" \
    >'api/v1/namespaces/kube-public/configmaps/cluster-info?timeout=10s'
touch ready
exec openssl s_server -quiet -accept 127.0.0.1:6443 -cert server.crt -key server.key -HTTP
"#;

/// What kubeadm 1.20.2 said.
const SAID: [(&str, &str); 3] = [
    ("right", include_str!("../../../../node/testdata/kubeadm-1.20.2/join-right.txt")),
    ("unknown-token", include_str!("../../../../node/testdata/kubeadm-1.20.2/join-unknown-token.txt")),
    ("wrong-pin", include_str!("../../../../node/testdata/kubeadm-1.20.2/join-wrong-pin.txt")),
];

/// What is left of a cluster on a node that did not join one.
const TRACES: &str = "ls -d /etc/kubernetes/kubelet.conf /etc/kubernetes/bootstrap-kubelet.conf \
    /etc/kubernetes/pki/ca.crt /run/hale/join.json /var/lib/kubelet/config.yaml 2>/dev/null || true";

/// Starts the API server, writes a node.toml with this token and pin, and gives how the join ends: why, and
/// with which code if it gave up.
fn join(root: &Root, case: &str, token: &str, pin: Option<&str>) -> (Machine, String, Option<i32>) {
    let machine = root.machine("hale-node");
    prepare(&machine, "10.0.3.2");
    let server = machine.spawn(SERVER);
    machine.succeeds("while ! [ -e /run/api/ready ]; do sleep 0.1; done");
    let own = machine.succeeds("cat /run/api/pin");
    let pin = pin.unwrap_or(own.trim());
    machine.put(
        "etc/hale/node.toml",
        &format!(
            "[network]\naddress = \"10.0.3.2\"\npods = \"10.0.3.61-10.0.3.100\"\n[join]\nendpoint = \"127.0.0.1:6443\"\n\
             token = \"{token}\"\nca-pins = [\"sha256:{pin}\"]\n"
        ),
        0o600,
    );
    let (_, said) = SAID.iter().find(|(name, _)| *name == case).expect("a case");
    machine.put("run/said", said, 0o600);
    let bootstrap = machine.spawn("exec hale bootstrap");
    let line = wait_for(&machine, "join", &["failed", "waiting"]);
    // What it gives up on ends it a moment after it was journaled.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let code = machine.stop("hale", bootstrap);
    record(&machine, case);
    let traces = machine.succeeds(TRACES);
    assert_eq!(traces, "", "{case}");
    machine.stop("openssl", server);
    let why = line["why"].as_str().expect("a reason").to_owned();
    assert!(!why.contains("0123456789abcdef") && !why.contains('\n'), "{why}");
    (machine, why, code)
}

/// Writes down what the real kubeadm said, with `HALE_RECORD` beside `HALE_KUBEADM`.
fn record(machine: &Machine, case: &str) {
    if std::env::var_os("HALE_RECORD").is_none() {
        return;
    }
    let log = machine.succeeds("cat /var/lib/hale/log/kubeadm.log");
    let (_, said) = log.rsplit_once("$ /usr/bin/kubeadm join ").expect("kubeadm was run");
    let (_, said) = said.split_once('\n').expect("its words");
    let (said, _) = said.split_once("= exit ").expect("its end");
    let path = format!("node/testdata/kubeadm-1.20.2/join-{case}.txt");
    std::fs::write(tests::checkout::top().join(path), said).expect("a recording");
}

const TOKEN: &str = "abcdef.0123456789abcdef";

#[apply(trial)]
fn a_wrong_pin_is_refused(root: &Root) {
    let pin = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let (_, why, code) = join(root, "wrong-pin", TOKEN, Some(pin));
    assert!(why.starts_with("the API server's CA is none of join.ca-pins; do not join it"), "{why}");
    assert_eq!(code, Some(4), "it gives up");
}

#[apply(trial)]
fn an_unknown_token_is_waited_for(root: &Root) {
    let (_, why, _) = join(root, "unknown-token", "fedcba.0123456789abcdef", None);
    assert!(why.contains("token") && why.contains("run `hale token` on the master"), "{why}");
}

/// The right ones take it past discovery, to what this server does not have.
#[apply(trial)]
fn the_right_token_and_pin_are_taken(root: &Root) {
    let (machine, why, _) = join(root, "right", TOKEN, None);
    assert!(!why.contains("token") && !why.contains("join.ca-pins"), "{why}");
    let log = machine.succeeds("cat /var/lib/hale/log/kubeadm.log");
    assert!(log.contains("kubeadm-config"), "{log}");
}
