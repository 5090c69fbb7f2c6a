//! Who owns what, path by path. Static pods run as ids of the control plane's own, which no other pod has in its map, and
//! without a capability to override permissions: what they read must belong to them, and nothing else must. Nothing here
//! is containers' root's.
//!
//! kubeadm rewrites files on renewal, so the table is applied again then. A path of the table that does not
//! exist is made if it is a directory, and passed over if it is a file.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::fault::{Fault, Result};
use crate::host::files;
use crate::kubernetes::context::Node;
use crate::kubernetes::paths;

/// The owner of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The host's root.
    Root,
    /// The host's root; the group of containers' root may read.
    Shared,
    /// The control plane.
    ControlPlane,
    /// etcd.
    Etcd,
}

use Owner::{ControlPlane, Etcd, Root, Shared};

/// A path, its owner and its mode; a path that ends in `/` is a directory.
type Row = (&'static str, Owner, u32);

/// On every node. Pods' volumes are under `pods`, whose group is inherited by what the kubelet makes there.
const EVERYWHERE: [Row; 6] = [
    ("/etc/kubernetes/", Root, 0o755),
    ("/etc/kubernetes/manifests/", Root, 0o700),
    (paths::KUBELET, Root, 0o600),
    ("/etc/kubernetes/pki/", Root, 0o755),
    ("/var/lib/kubelet/", Shared, 0o750),
    ("/var/lib/kubelet/pods/", Shared, 0o2750),
];

/// On the master: what the four static pods mount and must read (facts of kubeadm's manifests).
const MASTER: [Row; 32] = [
    (paths::ADMIN, Root, 0o600),
    ("/etc/kubernetes/controller-manager.conf", ControlPlane, 0o600),
    ("/etc/kubernetes/scheduler.conf", ControlPlane, 0o600),
    ("/etc/kubernetes/pki/apiserver-etcd-client.crt", ControlPlane, 0o644),
    ("/etc/kubernetes/pki/apiserver-etcd-client.key", ControlPlane, 0o600),
    ("/etc/kubernetes/pki/apiserver-kubelet-client.crt", ControlPlane, 0o644),
    ("/etc/kubernetes/pki/apiserver-kubelet-client.key", ControlPlane, 0o600),
    ("/etc/kubernetes/pki/apiserver.crt", ControlPlane, 0o644),
    ("/etc/kubernetes/pki/apiserver.key", ControlPlane, 0o600),
    (paths::CA, Root, 0o644),
    ("/etc/kubernetes/pki/ca.key", ControlPlane, 0o600),
    ("/etc/kubernetes/pki/front-proxy-ca.crt", Root, 0o644),
    // No pod reads these three keys: the host's kubeadm does.
    ("/etc/kubernetes/pki/front-proxy-ca.key", Root, 0o600),
    ("/etc/kubernetes/pki/front-proxy-client.crt", ControlPlane, 0o644),
    ("/etc/kubernetes/pki/front-proxy-client.key", ControlPlane, 0o600),
    ("/etc/kubernetes/pki/sa.key", ControlPlane, 0o600),
    ("/etc/kubernetes/pki/sa.pub", ControlPlane, 0o600),
    ("/etc/kubernetes/pki/etcd/", Root, 0o755),
    ("/etc/kubernetes/pki/etcd/ca.crt", Root, 0o644),
    ("/etc/kubernetes/pki/etcd/ca.key", Root, 0o600),
    ("/etc/kubernetes/pki/etcd/healthcheck-client.crt", Root, 0o644),
    ("/etc/kubernetes/pki/etcd/healthcheck-client.key", Root, 0o600),
    ("/etc/kubernetes/pki/etcd/peer.crt", Etcd, 0o644),
    ("/etc/kubernetes/pki/etcd/peer.key", Etcd, 0o600),
    ("/etc/kubernetes/pki/etcd/server.crt", Etcd, 0o644),
    ("/etc/kubernetes/pki/etcd/server.key", Etcd, 0o600),
    ("/etc/kubernetes/apiserver/", Root, 0o755),
    ("/etc/kubernetes/apiserver/audit.json", ControlPlane, 0o600),
    ("/etc/kubernetes/apiserver/encryption.json", ControlPlane, 0o600),
    ("/var/lib/etcd/", Etcd, 0o700),
    ("/var/lib/kubelet/pki/", Root, 0o755),
    ("/var/log/kubernetes/", ControlPlane, 0o700),
];

fn table(node: &Node) -> Vec<Row> {
    let master = if node.role.is_master() { MASTER.as_slice() } else { &[] };
    [EVERYWHERE.as_slice(), master].concat()
}

/// Returns the user and group ids of an owner.
fn ids(node: &Node, owner: Owner) -> (u32, u32) {
    let user = &node.role.user;
    match owner {
        Root => (0, 0),
        Shared => (0, user.first_id),
        ControlPlane => (user.control_plane_id, user.control_plane_id),
        Etcd => (user.etcd_id(), user.etcd_id()),
    }
}

/// Returns the paths that are not as the table says, each with what was found.
pub fn differences(node: &Node) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (path, owner, mode) in table(node) {
        match look(node, path)? {
            Found::Nothing if path.ends_with('/') => found.push(format!("{path} is missing")),
            Found::Nothing => {}
            Found::AnotherKind => found.push(format!("{path} is of another kind")),
            Found::Entry(is, is_mode) => {
                let expect = ids(node, owner);
                if (is, is_mode) != (expect, mode) {
                    let ((uid, gid), (expect_uid, expect_gid)) = (is, expect);
                    found.push(format!(
                        "{path} is {uid}:{gid} {is_mode:04o}, not {expect_uid}:{expect_gid} {mode:04o}"
                    ));
                }
            }
        }
    }
    Ok(found)
}

/// What is at a path of the table.
enum Found {
    Nothing,
    /// A link, or a file where a directory is to be.
    AnotherKind,
    /// Its owner and its mode.
    Entry((u32, u32), u32),
}

fn look(node: &Node, path: &str) -> Result<Found> {
    let full = node.host.path(path);
    let Ok(metadata) = fs::symlink_metadata(&full) else { return Ok(Found::Nothing) };
    if metadata.is_symlink() || metadata.is_dir() != path.ends_with('/') {
        return Ok(Found::AnotherKind);
    }
    let owner = node.host.owner(&full).map_err(|e| Fault::io("examine", path, e))?;
    Ok(Found::Entry(owner, metadata.permissions().mode() & 0o7777))
}

/// Sets owner and mode of every path as the table says. What is right is not touched: a unit may do without writing
/// there.
pub fn apply(node: &Node) -> Result<()> {
    for (path, owner, mode) in table(node) {
        let full = node.host.path(path);
        let (uid, gid) = ids(node, owner);
        match look(node, path)? {
            Found::Nothing if path.ends_with('/') => files::make_directory(node.host, &full, 0o755)?,
            Found::Nothing => continue,
            Found::AnotherKind => {
                return Err(Fault::machine(format!("{path} is of another kind than it must be")));
            }
            Found::Entry(is, is_mode) if (is, is_mode) == ((uid, gid), mode) => continue,
            Found::Entry(..) => {}
        }
        node.host.before_change(&full)?;
        node.host.chown(&full, uid, gid).map_err(|e| Fault::io("change the owner of", path, e))?;
        // After the owner: changing it clears the set-group-ID bit.
        let set = fs::set_permissions(&full, fs::Permissions::from_mode(mode));
        set.map_err(|e| Fault::io("change the mode of", path, e))?;
    }
    Ok(())
}
