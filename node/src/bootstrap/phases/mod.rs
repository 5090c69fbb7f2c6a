//! The phases of both roles, in order: the one place that says what happens and when.
//!
//! The manifests are written, and made patient, before the kubelet starts: so it never sees a half-written
//! one, nor one that kills a slow API server.

use crate::bootstrap::written::{self, KUBELET as KUBELET_FILES};
use crate::config::node::Identity;
use crate::config::role::Role;
use crate::fault::Result;
use crate::host::files;
use crate::host::systemd::{enabled_and_active, systemctl};
use crate::kubernetes::api::{self, PATIENCE};
use crate::kubernetes::context::Node;
use crate::kubernetes::kubeadm::{self, api_server, config, manifest};
use crate::kubernetes::retry::{answer, until};
use crate::kubernetes::{invitation, kube_proxy, ownership, policy};
use crate::renew;

mod certificates;
pub mod crio;
pub mod dns;
mod join;
pub mod preflight;
mod rbac;

pub use certificates::is_pem;

/// One phase. Its action can be repeated; its check changes nothing.
pub struct Phase {
    /// Its name in the journal.
    pub name: &'static str,
    /// What it does, for people.
    pub about: &'static str,
    /// Whether its result is there.
    pub check: fn(&Node) -> Result<bool>,
    /// Makes its result.
    pub act: fn(&Node) -> Result<()>,
}

macro_rules! phase {
    ($name:literal, $about:literal, $check:expr, $act:expr) => {
        Phase { name: $name, about: $about, check: $check, act: $act }
    };
}

/// A role's phases in order.
pub fn of(role: &Role) -> Vec<Phase> {
    let mut phases = vec![
        phase!("preflight", "the machine fits, and the bridge is there", preflight::is_fit, preflight::act),
        phase!("runtime", "CRI-O answers, and pods have their addresses", crio::check, crio::act),
    ];
    if role.is_master() {
        phases.extend([
            phase!("certificates", "a cluster CA and what it signs", certificates::check, certificates::act),
            phase!(
                "kubeconfigs",
                "credentials of the control plane",
                certificates::confs,
                certificates::act_confs
            ),
            phase!("ownership", "each file belongs to whom must read it", owned, ownership::apply),
            phase!("control-plane", "four patient static pods", has_control_plane, control_plane),
            phase!("kubelet", "the kubelet runs, and will after a reboot", kubelet_check, kubelet),
            phase!("wait", "the API server answers", api::answers, api::wait_for_answer),
            phase!("policy", "no pod may ask for what is the host's", policy::check, policy::act),
            phase!("upload", "the cluster knows its configuration and its master", uploaded, upload),
            phase!("serving", "the kubelet is who it says, by the cluster's CA", serves, serving),
            phase!("token", "nodes can join with a token that invites them", can_invite, token),
            phase!("dns", "CoreDNS", api::has_dns, dns),
            phase!("rights", "kube-proxies may ask for certificates", rbac::check, rbac::act),
        ]);
    } else {
        phases.extend([
            phase!("ownership", "each file belongs to whom must read it", owned, ownership::apply),
            phase!("join", "the node is a member of the cluster", join::check, join::act),
            phase!("wait", "the node is ready", api::is_ready, api::wait_until_ready),
        ]);
    }
    if role.kube_proxy.here {
        phases.push(phase!("kube-proxy", "Services work from here", kube_proxy::check, kube_proxy::act));
    }
    phases.push(phase!(
        "verify",
        "the node is ready, names are answered, and its secrets are wiped",
        verified,
        verify
    ));
    phases
}

fn owned(node: &Node) -> Result<bool> {
    ownership::differences(node).map(|differences| differences.is_empty())
}

fn has_control_plane(node: &Node) -> Result<bool> {
    Ok(api_server::is_ready(node)? && manifest::are_patient(node)?)
}

fn control_plane(node: &Node) -> Result<()> {
    api_server::prepare(node)?;
    let config = kubeadm::configure(node, "init.json", &config::init(node, kubeadm::PKI)?)?;
    kubeadm::phase(node, &["control-plane", "all"], &config)?;
    kubeadm::phase(node, &["etcd", "local"], &config)?;
    manifest::make_patient(node)?;
    // kubeadm may have made directories that the table knows.
    ownership::apply(node)?;
    written::note(node, &written::manifests())?;
    files::remove(node.world, &config)
}

fn kubelet_check(node: &Node) -> Result<bool> {
    for path in KUBELET_FILES {
        if files::read(node.world, path)?.is_none_or(|text| text.is_empty()) {
            return Ok(false);
        }
    }
    enabled_and_active(node.world, "kubelet.service")
}

fn kubelet(node: &Node) -> Result<()> {
    let config = kubeadm::configure(node, "init.json", &config::init(node, kubeadm::PKI)?)?;
    kubeadm::phase(node, &["kubelet-start"], &config)?;
    files::remove(node.world, &config)?;
    start_kubelet(node)
}

/// kubeadm starts the kubelet but does not enable it, and writes its files without a sync.
fn start_kubelet(node: &Node) -> Result<()> {
    for path in KUBELET_FILES {
        files::sync(&node.world.path(path))?;
    }
    files::sync(&node.world.path("/var/lib/kubelet"))?;
    written::note(node, &KUBELET_FILES)?;
    ownership::apply(node)?;
    systemctl(node.world, &["enable", "--now", "kubelet.service"])
}

fn uploaded(node: &Node) -> Result<bool> {
    api::knows(node, &["get", "configmap", "-n", "kube-system", "kubeadm-config"])
}

fn upload(node: &Node) -> Result<()> {
    let config = kubeadm::configure(node, "init.json", &config::init(node, kubeadm::PKI)?)?;
    for phase in [&["upload-config", "all"] as &[_], &["mark-control-plane"], &["kubelet-finalize", "all"]] {
        kubeadm::phase(node, phase, &config)?;
    }
    files::sync(&node.world.path(kubeadm::KUBELET))?;
    ownership::apply(node)?;
    files::remove(node.world, &config)
}

/// The kubelet's certificate as a server; a link to the newest.
const SERVING: &str = "/var/lib/kubelet/pki/kubelet-server-current.pem";

fn serves(node: &Node) -> Result<bool> {
    Ok(node.world.path(SERVING).exists())
}

/// The kubelet asks when it has told the API server its addresses; the master approves, and somebody signs.
fn serving(node: &Node) -> Result<()> {
    until(node, "the kubelet has no certificate as a server", PATIENCE, &|| {
        renew::approve(node)?;
        serves(node)
    })
}

fn can_invite(node: &Node) -> Result<bool> {
    Ok(api::has_info(node)? && answer(node, PATIENCE, &|| invitation::is_closed(node))?)
}

fn token(node: &Node) -> Result<()> {
    let config = kubeadm::configure(node, "init.json", &config::init(node, kubeadm::PKI)?)?;
    kubeadm::phase(node, &["bootstrap-token", "--skip-token-print"], &config)?;
    answer(node, PATIENCE, &|| invitation::close(node))?;
    files::remove(node.world, &config)
}

fn dns(node: &Node) -> Result<()> {
    let config = kubeadm::configure(node, "init.json", &config::init(node, kubeadm::PKI)?)?;
    kubeadm::phase(node, &["addon", "coredns"], &config)?;
    files::remove(node.world, &config)
}

fn verified(node: &Node) -> Result<bool> {
    let wiped =
        files::read(node.world, Identity::PATH)?.is_none_or(|text| !crate::config::node::holds_secret(&text));
    Ok(wiped && api::is_ready(node)? && dns::ask(node).map(|_| true)?)
}

fn verify(node: &Node) -> Result<()> {
    api::wait_until_ready(node)?;
    node.wipe()?;
    // kube-proxy, CoreDNS and the pod network come up after the node, and are what pods need of it.
    answer(node, PATIENCE, &|| dns::ask(node)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::bootstrap::journal::{Event, Journal};
    use crate::bootstrap::{MARKER, attempt};
    use crate::host::World;
    use crate::testing::fake::Fake;

    /// A bootstrap is not done, and what it was told is not wiped, before a name is answered, and rightly.
    #[test]
    fn the_last_phase_waits_until_names_are_answered() {
        let text = include_str!("../../../examples/role.toml");
        for text in [text.to_owned(), text.replace("here = true", "here = false")] {
            let role = Role::parse(&text).unwrap();
            for wrong in [None, Some(Ipv4Addr::new(10, 96, 0, 9))] {
                let world = Fake::of(&role, "10.0.3.1");
                world.resolved.set(wrong);
                let fault = attempt(&world, &role, &mut |_| {}).unwrap_err();
                assert_eq!(fault.class(), crate::fault::Class::Passing, "{fault}");
                let last = Journal::read(&world).unwrap().pop().unwrap();
                assert!(last.phase == "verify" && matches!(last.event, Event::Failed(_)), "{last:?}");
                assert!(!world.path(MARKER).exists());
                world.resolved.set(Some(role.cluster.api_service_address()));
                attempt(&world, &role, &mut |_| {}).unwrap();
            }
        }
    }
}
