//! The phases of both roles, in order: the one place that says what happens and when.
//!
//! The manifests are written, and made patient, before the kubelet starts: so it never sees a half-written
//! one, nor one that kills a slow API server.

use crate::config::node::{NodeConfig, holds_secret};
use crate::config::role::RoleConfig;
use crate::fault::Result;
use crate::host::files;
use crate::kubernetes::api::{self, API_TIMEOUT};
use crate::kubernetes::context::Node;
use crate::kubernetes::retry::retry;
use crate::kubernetes::{ownership, policy};
use crate::network::registries;

mod certificates;
mod control_plane;
pub mod crio;
pub mod dns;
mod join;
mod kube_proxy;
mod kubelet;
mod preflight;
mod rbac;

/// One phase of the bootstrap. `apply` can be repeated; `is_done` changes nothing.
pub struct Phase {
    /// Its name in the journal.
    pub name: &'static str,
    /// One clause for people: what the node has afterwards.
    pub about: &'static str,
    /// Returns whether its result is there.
    pub is_done: fn(&Node) -> Result<bool>,
    /// Makes its result.
    pub apply: fn(&Node) -> Result<()>,
}

macro_rules! phase {
    ($name:literal, $about:literal, $is_done:expr, $apply:expr) => {
        Phase { name: $name, about: $about, is_done: $is_done, apply: $apply }
    };
}

/// Returns the phases of a role, in order.
pub fn of(role: &RoleConfig) -> Vec<Phase> {
    let mut phases = vec![
        phase!(
            "preflight",
            "the machine fits, and the bridge is there",
            preflight::is_done,
            preflight::apply
        ),
        phase!("registries", "images come from where node.toml says", registries::is_done, registries::apply),
        phase!("runtime", "CRI-O answers, and pods have their addresses", crio::is_done, crio::apply),
    ];
    if role.is_master() {
        phases.extend([
            phase!(
                "certificates",
                "a cluster CA and what it signs",
                certificates::is_done,
                certificates::apply
            ),
            phase!(
                "kubeconfigs",
                "credentials of the control plane",
                certificates::has_kubeconfigs,
                certificates::make_kubeconfigs
            ),
            phase!("ownership", "each file belongs to whom must read it", has_owners, ownership::apply),
            phase!("control-plane", "four patient static pods", control_plane::is_done, control_plane::apply),
            phase!("kubelet", "the kubelet runs, and will after a reboot", kubelet::is_done, kubelet::apply),
            phase!("wait", "the API server answers", api::is_healthy, api::wait_until_healthy),
            phase!("policy", "no pod may ask for what is the host's", policy::is_done, policy::apply),
            phase!(
                "upload",
                "the cluster knows its configuration and its master",
                control_plane::is_uploaded,
                control_plane::upload
            ),
            phase!(
                "serving",
                "the kubelet is who it says, by the cluster's CA",
                kubelet::is_serving,
                kubelet::wait_until_serving
            ),
            phase!(
                "token",
                "nodes can join with a token that invites them",
                control_plane::can_invite,
                control_plane::invite
            ),
            phase!("dns", "CoreDNS", api::has_dns, dns::apply),
            phase!("rights", "people and kube-proxies may what their groups say", rbac::is_done, rbac::apply),
        ]);
    } else {
        phases.extend([
            phase!("ownership", "each file belongs to whom must read it", has_owners, ownership::apply),
            phase!("join", "the node is a member of the cluster", join::is_done, join::apply),
            phase!("wait", "the node is ready", api::is_ready, api::wait_until_ready),
        ]);
    }
    if role.kube_proxy.here {
        phases.push(phase!("kube-proxy", "Services work from here", kube_proxy::is_done, kube_proxy::apply));
    }
    phases.push(phase!(
        "verify",
        "the node is ready, names are answered, and its secrets are wiped",
        is_verified,
        verify
    ));
    phases
}

fn has_owners(node: &Node) -> Result<bool> {
    ownership::differences(node).map(|differences| differences.is_empty())
}

fn is_verified(node: &Node) -> Result<bool> {
    let wiped = files::read(node.host, NodeConfig::PATH)?.is_none_or(|text| !holds_secret(&text));
    Ok(wiped && api::is_ready(node)? && dns::query(node).map(|_| true)?)
}

fn verify(node: &Node) -> Result<()> {
    api::wait_until_ready(node)?;
    node.wipe()?;
    // kube-proxy, CoreDNS and the pod network come up after the node, and are what pods need of it.
    retry(node, API_TIMEOUT, &|| dns::query(node)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::bootstrap::journal::{Event, Journal};
    use crate::bootstrap::{MARKER, attempt};
    use crate::host::Host;
    use crate::testing::fake::FakeHost;

    /// A bootstrap is not done, and what it was told is not wiped, before a name is answered, and rightly.
    #[test]
    fn the_last_phase_waits_until_names_are_answered() {
        let text = include_str!("../../../examples/role.toml");
        for text in [text.to_owned(), text.replace("here = true", "here = false")] {
            let role = RoleConfig::parse(&text).unwrap();
            for wrong in [None, Some(Ipv4Addr::new(10, 96, 0, 9))] {
                let host = FakeHost::of(&role, "10.0.3.1");
                host.resolved.set(wrong);
                let fault = attempt(&host, &role, &mut |_| {}).unwrap_err();
                assert_eq!(fault.class(), crate::fault::Class::Transient, "{fault}");
                let last = Journal::read(&host).unwrap().pop().unwrap();
                assert!(last.phase == "verify" && matches!(last.event, Event::Failed(_)), "{last:?}");
                assert!(!host.path(MARKER).exists());
                host.resolved.set(Some(role.cluster.api_service_address()));
                attempt(&host, &role, &mut |_| {}).unwrap();
            }
        }
    }
}
