//! The package of `hale`, unpacked, with what a role's package puts beside it.

use std::path::Path;
use std::sync::LazyLock;

use builder::base::Epoch;
use builder::host::cargo;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::checkout;
use crate::tools::{put, succeed, tool};

/// What the shim is told of the site.
const SHIM: &str = "apparmor-profile = \"crio-default-1.17.4\"\nfirst-id = 10000000\nids = 65536\ncontrol-plane-id = 20000000\n";

static PACKAGE: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let package =
        cargo::build(checkout::top(), &checkout::toolchain(), Epoch::new(1_700_000_000).expect("an epoch"));
    put(folder.path().join("hale.deb"), package.unwrap_or_else(|fault| panic!("{fault}")).deb);
    let mut dpkg_deb = tool("dpkg-deb", "dpkg");
    succeed(dpkg_deb.arg("-x").arg(folder.path().join("hale.deb")).arg(folder.path().join("root")));
    put(folder.path().join("root/usr/lib/hale/shim.toml"), SHIM);
    folder
});

/// The root that it is unpacked in.
pub fn root() -> std::path::PathBuf {
    Path::join(PACKAGE.path(), "root")
}

/// A host's folder in a container, as it is there.
pub fn bind(source: &str, destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "source": source, "type": "bind", "options": options})
}

/// A container's configuration such as CRI-O's: mapped, with one capability, with a memory limit of zero.
pub fn container(rootfs: &Path, arguments: &[&str]) -> Value {
    let mapping = json!([{"containerID": 0, "hostID": 10_000_000, "size": 65_536}]);
    let namespaces = ["pid", "mount", "ipc", "uts", "network", "user"].map(|kind| json!({"type": kind}));
    let one = json!(["CAP_NET_BIND_SERVICE"]);
    let usual = ["rbind", "ro"];
    json!({
        "ociVersion": "1.0.1-dev",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": arguments,
            "env": ["PATH=/usr/bin"],
            "cwd": "/",
            "capabilities": {"bounding": one, "effective": one, "inheritable": one, "permitted": one},
            "noNewPrivileges": true,
        },
        "root": {"path": rootfs},
        "mounts": [
            {"destination": "/proc", "source": "proc", "type": "proc"},
            {"destination": "/dev", "source": "tmpfs", "type": "tmpfs", "options": ["mode=755", "size=65536k"]},
            bind("/usr", "/usr", &usual), bind("/lib", "/lib", &usual), bind("/lib64", "/lib64", &usual),
        ],
        "annotations": {},
        "linux": {
            "resources": {"memory": {"limit": 0}, "pids": {"limit": 128}},
            "namespaces": namespaces, "uidMappings": mapping, "gidMappings": mapping,
        },
    })
}
