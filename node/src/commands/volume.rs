//! `hale volume`: a folder of this machine's that outlives the pods that keep their data in it.
//!
//! A pod's user `n` is the host's user `first-id + n`, so the folder must be that one's; and a pod may mount no path of
//! the host's, but may claim a volume. So this makes the folder and prints the objects by which a pod claims it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::config::DnsLabel;
use crate::config::shim::ShimConfig;
use crate::fault::{Class, Fault, Result};
use crate::host::files;
use crate::kubernetes::context::Node;

/// Folder of all volumes. Only its owner, root, may list it.
pub const DIRECTORY: &str = "/srv/volumes";
/// Class of these volumes: it is no object, and binds claims to volumes of the same word.
const CLASS: &str = "hale";

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Name of the volume, of its claim and of its folder.
    pub name: DnsLabel,
    /// Namespace of the pods that may claim it.
    pub namespace: DnsLabel,
    /// User in the container that owns it.
    pub user: u32,
    /// Size that the objects say, a quantity of Kubernetes; nothing holds a pod to it.
    pub size: String,
}

/// Makes the folder and returns the objects, as a document for `kubectl apply -f -`.
pub fn make(node: &Node, volume: &Volume) -> Result<String> {
    check_size(&volume.size)?;
    let config = ShimConfig::parse(&files::need(node.host, ShimConfig::PATH)?)?;
    if volume.user >= config.ids {
        let what = format!("user {} is none of a container's {} users", volume.user, config.ids);
        return Err(Fault::input(what).help(format!("choose one below {}", config.ids)));
    }
    let path = format!("{DIRECTORY}/{}", volume.name);
    folder(node, &path, config.first_id + volume.user)?;
    let items = json!({"apiVersion": "v1", "kind": "List", "items": objects(node, volume, &path)});
    let text = serde_json::to_string_pretty(&items);
    text.map(|text| text + "\n").map_err(|e| Fault::machine(format!("cannot print: {e}")))
}

/// Makes the folder if it is not there; refuses one of another owner, whose data it would be.
fn folder(node: &Node, absolute: &str, owner: u32) -> Result<()> {
    files::make_directory(node.host, &node.host.path(DIRECTORY), 0o711)?;
    let path = node.host.path(absolute);
    match fs::symlink_metadata(&path) {
        Ok(found) => {
            let has = node.host.owner(&path).map_err(|e| Fault::io("examine", &path, e))?;
            if found.is_dir() && has == (owner, owner) && found.mode() & 0o7777 == 0o700 {
                return Ok(());
            }
            let what = format!(
                "{absolute} is there, and is no folder that only user {owner} may use (it has {has:?})"
            );
            Err(Fault::new(Class::Input, what).help("choose another name, or change its owner by hand"))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            files::make_directory(node.host, &path, 0o700)?;
            node.host.chown(&path, owner, owner).map_err(|e| Fault::io("give away", &path, e))?;
            files::sync(&path)
        }
        Err(e) => Err(Fault::io("examine", &path, e)),
    }
}

/// Refuses what is no whole number of bytes with a binary unit.
fn check_size(size: &str) -> Result<()> {
    let number = ["Ki", "Mi", "Gi", "Ti"].iter().find_map(|unit| size.strip_suffix(unit));
    match number.map(str::parse::<u32>) {
        Some(Ok(number)) if number > 0 && !size.starts_with(['+', '0']) => Ok(()),
        _ => Err(Fault::input(format!("{size:?} is no size such as 5Gi"))),
    }
}

/// A volume on this node, held for one claim, and the claim.
fn objects(node: &Node, volume: &Volume, path: &str) -> Value {
    let (name, namespace) = (volume.name.as_str(), volume.namespace.as_str());
    let storage = &volume.size;
    // Namespaced names of volumes are not: two namespaces may each have a claim "data".
    let cluster_wide = format!("{namespace}-{name}-{}", node.name);
    let is_here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name]});
    json!([
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": cluster_wide},
            "spec": {
                "capacity": {"storage": storage},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": CLASS,
                "claimRef": {"namespace": namespace, "name": name},
                "local": {"path": path},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [is_here]}]}},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": CLASS,
                "volumeName": cluster_wide,
                "resources": {"requests": {"storage": storage}},
            },
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node::NodeConfig;
    use crate::config::role::RoleConfig;
    use crate::host::Host as _;
    use crate::testing::fake::FakeHost;

    fn made(host: &FakeHost, volume: &Volume) -> Result<String> {
        let role = RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap();
        let config = NodeConfig::parse("node.toml", "name = \"node-1\"", &role).unwrap();
        make(&Node::new(host, &role, &config).unwrap(), volume)
    }

    fn host() -> FakeHost {
        let role = RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap();
        let host = FakeHost::of(&role, "10.0.3.1");
        let site =
            "apparmor-profile = \"p\"\nfirst-id = 10000000\nids = 65536\ncontrol-plane-id = 20000000\n";
        host.make(ShimConfig::PATH, site);
        host
    }

    fn volume(user: u32, size: &str) -> Volume {
        Volume { name: "data".parse().unwrap(), namespace: "shop".parse().unwrap(), user, size: size.into() }
    }

    #[test]
    fn a_folder_belongs_to_the_user_that_the_container_knows() {
        let host = host();
        let text = made(&host, &volume(26, "5Gi")).unwrap();
        let path = host.path("/srv/volumes/data");
        assert_eq!(host.owner(&path).unwrap(), (10_000_026, 10_000_026));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(fs::metadata(host.path(DIRECTORY)).unwrap().mode() & 0o7777, 0o711);
        let list: Value = serde_json::from_str(&text).unwrap();
        let (volume, claim) = (&list["items"][0], &list["items"][1]);
        assert_eq!(volume["spec"]["local"]["path"], "/srv/volumes/data");
        assert_eq!(volume["metadata"]["name"], claim["spec"]["volumeName"]);
        assert_eq!(volume["spec"]["claimRef"]["name"], claim["metadata"]["name"]);
        assert_eq!(volume["spec"]["claimRef"]["namespace"], claim["metadata"]["namespace"]);
    }

    /// Asked again it answers the same; asked for somebody else it keeps what is somebody's.
    #[test]
    fn data_is_never_given_to_somebody_else() {
        let host = host();
        let first = made(&host, &volume(26, "5Gi")).unwrap();
        assert_eq!(made(&host, &volume(26, "5Gi")).unwrap(), first);
        let fault = made(&host, &volume(27, "5Gi")).unwrap_err();
        assert!(fault.to_string().contains("is there"), "{fault}");
        assert_eq!(host.owner(&host.path("/srv/volumes/data")).unwrap(), (10_000_026, 10_000_026));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (user, size, expect) in [
            (65_536, "5Gi", "none of a container's"),
            (0, "5", "no size"),
            (0, "0Gi", "no size"),
            (0, "+5Gi", "no size"),
            (0, "5GB", "no size"),
            (0, "-5Gi", "no size"),
        ] {
            let host = host();
            let fault = made(&host, &volume(user, size)).unwrap_err();
            assert!(fault.to_string().contains(expect), "{fault}");
            assert!(!host.path("/srv/volumes").exists());
        }
    }
}
