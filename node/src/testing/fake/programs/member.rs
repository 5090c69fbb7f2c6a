//! This node as a member of the cluster: how a kubelet makes it one, and what kubeadm's join makes of that.

use std::fs;

use super::answers::{failed, is_active, ok};
use super::requests;
use crate::fault::Result;
use crate::host::{CommandOutput, Host};
use crate::kubernetes::paths;
use crate::testing::fake::machine::{FakeHost, SlowJoin};
use crate::testing::fake::recorded::{content, write};

/// For so many seconds a node counts as ready whose kubelet is not heard of any more.
const GRACE: i64 = 40;

/// What a kubelet that runs has done in the meantime: it has credentials, and a node's object of its own.
pub(super) fn heartbeat(fake: &FakeHost) {
    let conf = fake.path(paths::KUBELET);
    if is_active(fake, "kubelet.service") && (conf.is_file() || fake.late.get()) {
        if fake.late.take() {
            fs::write(&conf, content(paths::KUBELET)).unwrap();
        }
        fake.state.borrow_mut().seen = Some(fake.clock.get());
        introduce(fake);
    }
}

/// With its object it tells the API server which range it claims, and asks for a certificate as a server.
fn introduce(fake: &FakeHost) {
    let flags = fs::read_to_string(fake.path("/var/lib/kubelet/kubeadm-flags.env")).unwrap_or_default();
    let claim = flags.split(&[' ', '"']).find_map(|flag| flag.strip_prefix("--node-labels=hale/pods="));
    let state = &mut *fake.state.borrow_mut();
    if let Some(claim) = claim.filter(|_| !state.objects.contains("elsewhere")) {
        state.claims.entry(fake.node_name()).or_insert_with(|| claim.to_owned());
        let asks = state.requests.values().any(|request| request["status"].is_null());
        if !fake.path(requests::SERVING).exists() && !asks {
            let name = format!("csr-{}", state.requests.len());
            state.requests.insert(name, requests::serving(fake));
        }
    }
}

/// Whether the API server has the node's object.
pub(super) fn is_registered(fake: &FakeHost) -> bool {
    heartbeat(fake);
    fake.state.borrow().seen.is_some()
}

/// Whether it takes the node for ready.
pub(super) fn is_ready(fake: &FakeHost) -> bool {
    is_registered(fake) && fake.state.borrow().seen.is_some_and(|seen| fake.clock.get() < seen + GRACE)
}

/// `kubeadm join` 1.20.2: what it refuses, what it leaves, what it says.
pub(super) fn join(fake: &FakeHost) -> Result<CommandOutput> {
    heartbeat(fake);
    let mut errors: Vec<String> = [paths::KUBELET, "/etc/kubernetes/bootstrap-kubelet.conf", paths::CA]
        .into_iter()
        .filter(|path| fake.path(path).exists())
        .map(|path| format!("\t[ERROR FileAvailable-{}]: {path} already exists\n", path.replace('/', "-")))
        .collect();
    if is_active(fake, "kubelet.service") {
        errors.push("\t[ERROR Port-10250]: Port 10250 is in use\n".to_owned());
    }
    if !errors.is_empty() {
        let what = "error execution phase preflight: [preflight] Some fatal errors occurred:\n";
        return Ok(failed(&format!("{what}{}", errors.concat())));
    }
    if is_ready(fake) {
        return Ok(failed(
            "error execution phase kubelet-start: a Node with name \"seed\" and status \"Ready\" already exists in \
             the cluster. You must delete the existing Node or change the name of this new joining Node\n",
        ));
    }
    let slow = fake.slow_join.take();
    write(fake, "join", &|path| path.to_owned())?;
    if slow == SlowJoin::Credentials {
        fs::remove_file(fake.path(paths::KUBELET)).unwrap();
        fake.late.set(true);
    }
    fake.state.borrow_mut().active.insert("kubelet.service".into());
    fake.spend()?;
    Ok(match slow {
        SlowJoin::Not => ok(""),
        SlowJoin::Note => failed(
            "error execution phase kubelet-start: error uploading crisocket: timed out waiting for the condition\n\
             To see the stack trace of this error execute with --v=5 or higher\n",
        ),
        SlowJoin::Credentials => {
            failed("error execution phase kubelet-start: timed out waiting for the condition\n")
        }
    })
}
