//! kubectl on requests for certificates, as the API server treats them: who asks is who the kubeconfig says.

use std::fs;

use serde_json::Value;

use super::answers::{failed, ok};
use crate::config::Minor;
use crate::doctor::certificates::ending as certificate;
use crate::host::{Command, CommandOutput, Host, RealHost};
use crate::kubernetes::kube_proxy;
use crate::kubernetes::kubeadm::dialect::dialect;
use crate::renew::csr;
use crate::renew::form::{Form, element};
use crate::testing::fake::machine::{FakeHost, NOW};
use crate::testing::fake::recorded::YEAR;
use crate::text::base64;

/// Where the kubelet's certificate as a server is.
pub(super) const SERVING: &str = "/var/lib/kubelet/pki/kubelet-server-current.pem";

/// What the master's kubelet asks for.
pub(super) fn serving(fake: &FakeHost) -> Value {
    let name = fake.node_name();
    let form = Form::Server(name.parse().unwrap(), [10, 0, 3, 1].into());
    let pem = if fake.openssl.get() { signed(&name) } else { pem(&form.information(b"foo")) };
    let is_old = fake.version.borrow().starts_with("v1.17.");
    let mut object = csr::object(dialect(if is_old { Minor::V17 } else { Minor::V20 }), &form, "csr", &pem);
    object["spec"]["username"] = format!("system:node:{name}").into();
    object
}

/// A request with a key that is none.
fn pem(information: &[u8]) -> String {
    let text = base64::encode(&element(0x30, information));
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let label = "CERTIFICATE REQUEST";
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A real one: the same bytes as Go's, with that mask.
fn signed(name: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    fs::write(&config, "[req]\ndistinguished_name = none\nstring_mask = default\n[none]\n").unwrap();
    let key = folder.path().join("key");
    let words = format!(
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /O=system:nodes/CN=system:node:{name} \
         -addext subjectAltName=DNS:{name},IP:10.0.3.1"
    );
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.extend(["-config", config.to_str().unwrap(), "-keyout", key.to_str().unwrap()]);
    RealHost::new(None)
        .run_checked(&Command::new("/usr/bin/openssl", &words))
        .expect("openssl: Debian's package openssl")
}

/// What the API server says of an object: 1.17 has `v1beta1` alone, where nobody is named who signs; `v1` wants that.
fn refusal(fake: &FakeHost, object: &Value) -> Option<CommandOutput> {
    let is_old = fake.version.borrow().starts_with("v1.17.");
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let fits = match version {
        "certificates.k8s.io/v1beta1" => !is_old || object["spec"]["signerName"].is_null(),
        "certificates.k8s.io/v1" => !is_old && object["spec"]["signerName"].is_string(),
        _ => false,
    };
    (!fits).then(|| {
        failed(&format!("error: unable to recognize: no matches for this object in version {version:?}"))
    })
}

/// What the API server answers; `None` when this is not about requests.
pub(super) fn kubectl(fake: &FakeHost, kubeconfig: &str, words: &[&str]) -> Option<CommandOutput> {
    let mut state = fake.state.borrow_mut();
    let as_proxy = kubeconfig == kube_proxy::KUBECONFIG;
    if as_proxy && !state.objects.contains("hale:kube-proxy-renewal") {
        return Some(failed("Error from server (Forbidden): certificatesigningrequests is forbidden"));
    }
    let read = |path: &str| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    Some(match words {
        ["create", "--validate=false", "-f", file] => {
            let mut object = read(file);
            if let Some(refused) = refusal(fake, &object) {
                return Some(refused);
            }
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            object["spec"]["username"] = if as_proxy { kube_proxy::USER } else { "kubernetes-admin" }.into();
            state.requests.insert(name, object);
            ok("")
        }
        ["get", resource, ..] if resource.contains(".v1.") && fake.version.borrow().starts_with("v1.17.") => {
            failed("error: the server doesn't have a resource type \"certificatesigningrequests\"")
        }
        ["get", resource, "-o", _] if resource.starts_with("certificatesigningrequests") => {
            let line = |(name, object): (&String, &Value)| {
                let kinds = object["status"]["conditions"].as_array().into_iter().flatten();
                let kinds: String =
                    kinds.map(|condition| format!(" {}", condition["type"].as_str().unwrap())).collect();
                format!("{name} {}{kinds}\n", object["spec"]["username"].as_str().unwrap())
            };
            ok(&state.requests.iter().map(line).collect::<String>())
        }
        ["get", resource, name, "--ignore-not-found", "-o", "json"]
            if resource.starts_with("certificatesigningrequests") =>
        {
            ok(&state.requests.get(*name).map(Value::to_string).unwrap_or_default())
        }
        ["replace", "--raw", path, "-f", file] if !as_proxy => {
            let name = path.strip_suffix("/approval").unwrap().rsplit('/').next().unwrap();
            let object = read(file);
            if object["spec"]["username"] == format!("system:node:{}", fake.node_name()) {
                // It is signed, and the kubelet takes it.
                let place = fake.path(SERVING);
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                fs::write(place, certificate(NOW + YEAR)).unwrap();
            }
            state.requests.insert(name.to_owned(), object);
            ok("")
        }
        _ => return None,
    })
}
