//! Renewal of certificates before they end: kubeadm's, kube-proxy's, then the ownership table again.
//!
//! kubeadm writes renewed files as root's; without the table the static pods could not read them. The pods
//! read them at their start, so those that hold one are started anew.

use crate::fault::{Class, Fault, Result};
use crate::files;
use crate::kubeadm::{self, ways};
use crate::node::Node;
use crate::world::Call;
use crate::{ownership, phases, proxy};

/// Renewed when fewer days are left: a timer that runs each week has a month of chances.
const DAYS: u64 = 60;
/// A certificate with fewer days left is a broken promise: renewal did not happen.
pub const WARNING: u64 = 30;
/// Certificates that everything else stands for: all of kubeadm's are made and renewed together.
const WITNESS: &str = "/etc/kubernetes/pki/apiserver.crt";
/// Containers that hold a certificate for as long as they run.
const HOLDERS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// Whether a certificate ends within `days`, by openssl(1).
pub fn ends_within(node: &Node, path: &str, days: u64) -> Result<bool> {
    let seconds = (days * 86_400).to_string();
    let path = node.world.path(path).to_string_lossy().into_owned();
    let call = Call::new("/usr/bin/openssl", &["x509", "-noout", "-checkend", &seconds, "-in", &path]);
    Ok(!node.world.run(&call)?.success())
}

/// Renews what ends soon, or everything if `force` says so. Says whether it did.
pub fn renew(node: &Node, force: bool) -> Result<bool> {
    if !node.role.is_master() {
        return renew_proxy(node, force);
    }
    let proxy = node.role.kube_proxy.here && proxy::ends_within(node, DAYS)?;
    if !force && !proxy && !ends_within(node, WITNESS, DAYS)? {
        // A renewal that was cut short left files that are root's.
        ownership::apply(node)?;
        return Ok(false);
    }
    kubeadm::run(node, ways(node.role.kubernetes.minor()).renew, 10)?;
    ownership::apply(node)?;
    files::sync_all(&node.world.path("/etc/kubernetes"))?;
    if node.role.kube_proxy.here {
        proxy::renew(node)?;
    }
    for name in HOLDERS {
        restart(node, name)?;
    }
    phases::systemctl(node, &["restart", "kubelet.service"])?;
    crate::cluster::wait_for_answer(node)?;
    Ok(true)
}

/// On a node: the kubelet renews its own certificate. kube-proxy's is the master's to sign, so a new one comes
/// as the first one came, by node.toml; the operator is told in time.
fn renew_proxy(node: &Node, force: bool) -> Result<bool> {
    if !node.role.kube_proxy.here {
        return Ok(false);
    }
    let given = node.identity.kube_proxy.as_ref().is_some_and(|given| given.kubeconfig.is_some());
    if given {
        proxy::renew(node)?;
        node.wipe()?;
    }
    if !proxy::ends_within(node, DAYS)? && (given || !force) {
        return Ok(given);
    }
    let fault =
        Fault::new(Class::Missing, "kube-proxy needs another certificate, which the master alone can sign");
    Err(fault.mend(
        "put the [kube-proxy] that `hale token --kube-proxy` prints there into /etc/hale/node.toml, then `hale renew`",
    ))
}

/// Stops a static pod's container; the kubelet starts it anew.
fn restart(node: &Node, name: &str) -> Result<()> {
    let crictl = |arguments: &[&str]| {
        let endpoint = format!("unix://{}", kubeadm::CRI_SOCKET);
        Call::new(
            &node.role.programs.crictl,
            &[&["--runtime-endpoint", endpoint.as_str()], arguments].concat(),
        )
    };
    let ids = node.world.ask(&crictl(&["ps", "--quiet", "--name", &format!("^{name}$")]))?;
    for id in ids.split_whitespace() {
        node.world.ask(&crictl(&["stop", id]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::attempt;
    use crate::fake::Fake;
    use crate::identity::Identity;
    use crate::role::Role;

    #[test]
    fn renewed_files_get_their_owners_again() {
        let role = Role::parse(include_str!("../examples/role.toml")).unwrap();
        let world = Fake::of(&role, "10.0.3.1");
        attempt(&world, &role, &mut |_| {}).unwrap();
        let identity = Identity::default();
        let node = Node::new(&world, &role, &identity).unwrap();
        let credentials = files::need(&world, proxy::KUBECONFIG).unwrap();
        world.certificates_end.set(true);
        assert!(renew(&node, false).unwrap());
        assert!(ownership::differences(&node).unwrap().is_empty());
        let calls = world.calls.borrow().join("\n");
        assert!(calls.contains("kubeadm alpha certs renew all"), "{calls}");
        assert!(
            calls.contains("crictl --runtime-endpoint unix:///var/run/crio/crio.sock stop etcd-id"),
            "{calls}"
        );
        assert_eq!(files::need(&world, proxy::KUBECONFIG).unwrap(), credentials);
        world.certificates_end.set(false);
        assert!(!renew(&node, false).unwrap());
    }

    #[test]
    fn a_nodes_own_proxy_is_told_of_in_time_and_takes_what_it_is_given() {
        let text = include_str!("../examples/role.toml").replacen("role = \"master\"", "role = \"node\"", 1);
        let role = Role::parse(&text).unwrap();
        let world = Fake::of(&role, "10.0.3.2");
        let given = |serial: &str| {
            let proxy = format!(
                "users:\n- user:\n    client-certificate-data: {serial}\n    client-key-data: eA==\n"
            );
            let text = format!(
                "{}\n[kube-proxy]\nkubeconfig = '''\n{proxy}'''\n",
                include_str!("../examples/node.toml")
            );
            world.make(Identity::PATH, &text);
            proxy
        };
        let now = || Identity::load(&world, &role).unwrap();
        given("Zm9v");
        world.state.borrow_mut().objects.insert("elsewhere".into());
        attempt(&world, &role, &mut |_| {}).unwrap();
        let identity = now();
        let node = Node::new(&world, &role, &identity).unwrap();
        assert!(!renew(&node, false).unwrap(), "it is good for long");
        world.certificates_end.set(true);
        let told = renew(&node, false).unwrap_err();
        assert!(
            told.class() == Class::Missing && told.to_string().contains("hale token --kube-proxy"),
            "{told}"
        );
        let second = given("Zm9vYmFy");
        world.certificates_end.set(false);
        let identity = now();
        assert!(renew(&Node::new(&world, &role, &identity).unwrap(), false).unwrap());
        assert_eq!(files::need(&world, proxy::KUBECONFIG).unwrap(), second);
        assert!(!files::need(&world, Identity::PATH).unwrap().contains("client-key-data"));
    }
}
