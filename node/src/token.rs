//! `hale token`: a join file for a new node, ready to be put into its `node.toml`.

use std::fmt::Write;

use crate::base64;
use crate::cluster;
use crate::fault::{Fault, Result};
use crate::files;
use crate::identity::{Moment, Secret};
use crate::kubeadm;
use crate::node::Node;
use crate::progress::Port;
use crate::proxy;
use crate::world::Call;

/// Makes a token that ends after so many hours, and prints what a node must be told.
pub fn token(node: &Node, hours: u16, with_proxy: bool) -> Result<Secret> {
    if !node.role.is_master() {
        return Err(Fault::input("this is no master").mend("run `hale token` on the master"));
    }
    if hours == 0 {
        // kubeadm takes 0 for a token that never ends.
        return Err(
            Fault::input("a token of 0 hours joins nothing").mend("say for how many hours it is good")
        );
    }
    let ttl = format!("{hours}h");
    let arguments = ["--kubeconfig", kubeadm::ADMIN, "token", "create", "--ttl", &ttl];
    let made = node.world.ask(&Call::new(&node.role.programs.kubeadm, &arguments).secret())?;
    let now = node.world.now();
    let mut text = String::from("[join]\n");
    let _ = writeln!(text, "endpoint = \"{}:6443\"", node.role.cluster.advertise_address);
    let _ = writeln!(text, "token = \"{}\"", made.trim());
    let _ = writeln!(text, "ca-pins = [\"{}\"]", pin(node)?);
    let _ = writeln!(text, "issued = {}", Moment::from_seconds(now)?);
    let _ = writeln!(text, "expires = {}", Moment::from_seconds(now + i64::from(hours) * 3600)?);
    let taken: Vec<String> = cluster::ranges(node)?.iter().map(|(_, range)| format!("\"{range}\"")).collect();
    let _ = writeln!(text, "taken = [{}]", taken.join(", "));
    if with_proxy {
        let _ = write!(text, "\n[kube-proxy]\nkubeconfig = '''\n{}'''\n", proxy::credentials(node)?);
    }
    Ok(Secret::from(text))
}

/// Whoever runs this machine and holds the other end of this port is given what a node must be told.
const PORT: &str = "/dev/virtio-ports/org.hale.join";
/// How long that is good for, in hours.
const HOURS: u16 = 24;

/// Gives a join file to that port, on a master that has one; says whether it did.
pub fn hand_out(node: &Node) -> Result<bool> {
    let port = Port::open(node.world, PORT).filter(|_| node.role.is_master());
    let Some(mut port) = port else { return Ok(false) };
    port.put(node.world, token(node, HOURS, false)?.expose());
    Ok(true)
}

/// The digest of the cluster CA's public key: SHA-256 of its SubjectPublicKeyInfo, by openssl(1).
fn pin(node: &Node) -> Result<String> {
    let path = "/etc/kubernetes/pki/ca.crt";
    files::need(node.world, path)?;
    let full = node.world.argument(path);
    let key = node.world.ask(&Call::new("/usr/bin/openssl", &["x509", "-noout", "-pubkey", "-in", &full]))?;
    let der = base64::of_pem(&key).ok_or_else(|| Fault::machine("openssl printed no public key"))?;
    use sha2::Digest;
    let digest = sha2::Sha256::digest(der);
    Ok(format!("sha256:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::attempt;
    use crate::fake::Fake;
    use crate::identity::Identity;
    use crate::role::Role;
    use crate::world::World;

    #[test]
    fn who_holds_the_port_of_a_master_is_told_how_to_join() {
        let text = include_str!("../examples/role.toml");
        for kind in ["master", "node"] {
            let role =
                Role::parse(&text.replacen("role = \"master\"", &format!("role = {kind:?}"), 1)).unwrap();
            let world = Fake::of(&role, "10.0.3.1");
            attempt(&world, &Role::parse(text).unwrap(), &mut |_| {}).unwrap();
            let identity = Identity::default();
            let node = Node::new(&world, &role, &identity).unwrap();
            assert!(!hand_out(&node).unwrap());
            assert!(
                !world.calls.borrow().join("\n").contains("token create"),
                "a token that nobody asked for"
            );
            world.make(PORT, "");
            assert_eq!(hand_out(&node).unwrap(), kind == "master");
            let told = std::fs::read_to_string(world.path(PORT)).unwrap();
            let is_whole = told.starts_with("[join]\n")
                && told.ends_with("]\n")
                && told.contains("expires = 2026-11-23T");
            assert_eq!(is_whole, kind == "master", "{told}");
        }
    }

    #[test]
    fn what_is_printed_is_what_a_node_reads() {
        let text = include_str!("../examples/role.toml");
        let master = Role::parse(text).unwrap();
        let world = Fake::of(&master, "10.0.3.1");
        attempt(&world, &master, &mut |_| {}).unwrap();
        world.state.borrow_mut().objects.insert("range seed 10.0.3.16-10.0.3.60".into());
        let identity = Identity::default();
        let node = Node::new(&world, &master, &identity).unwrap();
        let printed = token(&node, 24, true).unwrap();
        let whole = format!("[network]\npods = \"10.0.3.61-10.0.3.70\"\n{}", printed.expose());
        let worker = Role::parse(&text.replace("role = \"master\"", "role = \"node\"")).unwrap();
        let read = Identity::parse("node.toml", &whole, &worker).unwrap();
        assert!(read.missing(&worker).is_none() && read.kube_proxy.is_some());
        let clash = whole.replace("10.0.3.61-", "10.0.3.60-");
        assert!(Identity::parse("node.toml", &clash, &worker).is_err());
        assert!(token(&node, 0, false).unwrap_err().to_string().contains("0 hours"));
        assert!(!world.calls.borrow().join("\n").contains("abcdef.0123456789abcdef"));
    }
}
