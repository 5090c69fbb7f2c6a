//! kubectl on requests for certificates, as the API server treats them: who asks is who the kubeconfig says.

use std::fs;

use serde_json::Value;

use super::{failed, ok};
use crate::fake::Fake;
use crate::proxy;
use crate::world::Ran;

/// What the API server says of an object: 1.17 has `v1beta1` alone, where nobody is named who signs; `v1` wants that.
fn refusal(fake: &Fake, object: &Value) -> Option<Ran> {
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
pub(super) fn kubectl(fake: &Fake, kubeconfig: &str, words: &[&str]) -> Option<Ran> {
    let mut state = fake.state.borrow_mut();
    let as_proxy = kubeconfig == proxy::KUBECONFIG;
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
            object["spec"]["username"] = if as_proxy { proxy::USER } else { "kubernetes-admin" }.into();
            state.requests.insert(name, object);
            ok("")
        }
        ["get", resource, ..] if resource.contains(".v1.") && fake.version.borrow().starts_with("v1.17.") => {
            failed("error: the server doesn't have a resource type \"certificatesigningrequests\"")
        }
        ["get", resource, "-o", _] if resource.starts_with("certificatesigningrequests") => {
            ok(&state.requests.keys().map(|name| format!("{name}\n")).collect::<String>())
        }
        ["get", resource, name, "--ignore-not-found", "-o", "json"]
            if resource.starts_with("certificatesigningrequests") =>
        {
            ok(&state.requests.get(*name).map(Value::to_string).unwrap_or_default())
        }
        ["replace", "--raw", path, "-f", file] if !as_proxy => {
            let name = path.strip_suffix("/approval").unwrap().rsplit('/').next().unwrap();
            state.requests.insert(name.to_owned(), read(file));
            ok("")
        }
        _ => return None,
    })
}
