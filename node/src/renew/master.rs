//! On the master: requests for kube-proxy's certificate are approved when they are exactly that.
//!
//! Who asks is `system:kube-proxy` itself, whose credentials are still good: it gets no right that it does
//! not have, for a longer time. The controller manager signs what is approved.

use serde_json::{Value, json};

use crate::base64;
use crate::cluster;
use crate::fault::{Fault, Result};
use crate::files;
use crate::kubeadm::{Ways, ways};
use crate::node::Node;
use crate::proxy::USER;
use crate::world::Call;

use super::request;

/// The request that is being judged, for openssl(1), and the object that approves it, for kubectl.
const PEM: &str = "/run/hale/request.pem";
const OBJECT: &str = "/run/hale/approval.json";

/// Approves what may be approved; every other request is left alone, for the operator.
pub(super) fn approve(node: &Node) -> Result<()> {
    let ways = ways(node.role.kubernetes.minor());
    let resource = request::resource(ways);
    let names = format!(
        "jsonpath={{range .items[?(@.spec.username==\"{USER}\")]}}{{.metadata.name}}{{\"\\n\"}}{{end}}"
    );
    let names = cluster::ask(node, &["get", &resource, "-o", &names])?;
    for name in names.lines().filter(|name| !name.is_empty()) {
        // It may be gone by now: the API server removes old requests.
        let text = cluster::ask(node, &["get", &resource, name, "--ignore-not-found", "-o", "json"])?;
        let object = serde_json::from_str(&text).unwrap_or(Value::Null);
        if may_be_approved(node, ways, &object)? {
            say_yes(node, ways, name, object)?;
        }
    }
    Ok(())
}

fn may_be_approved(node: &Node, ways: &Ways, object: &Value) -> Result<bool> {
    let Some(pem) = request::asked(ways, object) else { return Ok(false) };
    files::make_directory(node.world, &node.world.path("/run/hale"), 0o700)?;
    files::write(node.world, PEM, pem.as_bytes(), 0o600)?;
    let path = node.world.argument(PEM);
    let ran = node
        .world
        .run(&Call::new("/usr/bin/openssl", &["req", "-verify", "-noout", "-pubkey", "-in", &path]))?;
    files::remove(node.world, PEM)?;
    // openssl 3.0 ends well after a wrong signature too, and tells it in words.
    let signed = ran.success() && ran.stderr.contains("verify OK");
    let key = base64::of_pem(&ran.stdout).unwrap_or_default();
    Ok(signed && request::is_exact(&pem, &key))
}

/// The object goes back as it was judged: the API server refuses it if it has changed since.
fn say_yes(node: &Node, ways: &Ways, name: &str, mut object: Value) -> Result<()> {
    object["status"] = json!({"conditions": [{
        "type": "Approved",
        "status": "True",
        "reason": "Renewal",
        "message": "hale: kube-proxy asks for its own certificate again",
    }]});
    let text =
        serde_json::to_string(&object).map_err(|e| Fault::machine(format!("cannot write {OBJECT}: {e}")))?;
    files::write(node.world, OBJECT, text.as_bytes(), 0o600)?;
    let path = node.world.argument(OBJECT);
    let said = cluster::ask(node, &["replace", "--raw", &request::approval_path(ways, name), "-f", &path]);
    files::remove(node.world, OBJECT)?;
    said.map(drop)
}
