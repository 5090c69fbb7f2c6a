//! The packaged shim before Debian's crun: what the kernel says of a process in a container whose
//! configuration is such as CRI-O 1.17 writes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::sync::LazyLock;

use builder::base::Epoch;
use builder::program;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::checkout;
use tests::tools::{is_root, put, run, said, succeed, tool};

/// The package of `hale`, unpacked, and what a role's package puts beside it.
static PACKAGE: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let package = program::build(checkout::top(), Epoch::new(1_700_000_000).expect("an epoch"));
    put(folder.path().join("hale.deb"), package.unwrap_or_else(|fault| panic!("{fault}")).deb);
    let mut dpkg_deb = tool("dpkg-deb", "dpkg");
    succeed(dpkg_deb.arg("-x").arg(folder.path().join("hale.deb")).arg(folder.path().join("root")));
    let role = include_str!("../../node/examples/role.toml");
    put(folder.path().join("root/usr/lib/hale/role.toml"), role);
    folder
});

/// Prints the process's own status, and how the kernel answers clone3 and unshare, by their errno.
const PROBE: &str = "open S, '/proc/self/status'; print <S>; \
    syscall(435, 0, 0); print 'clone3:', $!+0, qq(\\n); $! = 0; syscall(272, 0x10000000); print 'unshare:', $!+0, qq(\\n);";

/// A container such as CRI-O's: mapped, with one capability, with a memory limit of zero.
fn config(seccomp: &Value, asked: Option<&str>) -> Value {
    let bind =
        |path: &str| json!({"destination": path, "source": path, "type": "bind", "options": ["rbind", "ro"]});
    let mapping = json!([{"containerID": 0, "hostID": 10_000_000, "size": 65_536}]);
    let namespaces = ["pid", "mount", "ipc", "uts", "network", "user"].map(|kind| json!({"type": kind}));
    let one = json!(["CAP_NET_BIND_SERVICE"]);
    let mut config = json!({
        "ociVersion": "1.0.1-dev",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/usr/bin/perl", "-e", PROBE],
            "env": ["PATH=/usr/bin"],
            "cwd": "/",
            "capabilities": {"bounding": one, "effective": one, "inheritable": one, "permitted": one},
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "source": "proc", "type": "proc"},
            {"destination": "/dev", "source": "tmpfs", "type": "tmpfs", "options": ["mode=755", "size=65536k"]},
            bind("/usr"), bind("/lib"), bind("/lib64"),
        ],
        "annotations": {},
        "linux": {
            "resources": {"memory": {"limit": 0}, "pids": {"limit": 128}},
            "namespaces": namespaces, "uidMappings": mapping, "gidMappings": mapping,
        },
    });
    if let Some(asked) = asked {
        config["annotations"]["io.kubernetes.cri-o.SeccompProfilePath"] = asked.into();
    }
    if !seccomp.is_null() {
        config["linux"]["seccomp"] = seccomp.clone();
    }
    config
}

/// Lays the package over `/usr` in a mount namespace and runs a bundle with the program `$3`. crun refuses
/// both kinds of control groups at once, though it is told to use none. What the kernel says of AppArmor is `$4`.
/// Prints in the end what is mounted in a folder that is as systemd makes all of a machine's: shared.
const RUN: &str = r#"
mount --make-rprivate /
! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified
mount -t overlay overlay -o "lowerdir=$1/usr:/usr" /usr
for folder in /sys/module /sys/kernel/security; do mount -t tmpfs tmpfs "$folder"; done
mkdir -p /sys/module/apparmor/parameters /sys/kernel/security/apparmor
if [ -n "$4" ]; then echo Y; else echo N; fi >/sys/module/apparmor/parameters/enabled
echo "$4" >/sys/kernel/security/apparmor/profiles
mount -t tmpfs tmpfs "$2/shared"
mount --make-shared "$2/shared"
mkdir "$2/shared/inside"
status=0
"$3" --root="$2/state" --cgroup-manager=disabled run --bundle="$2" hale-test || status=$?
grep -o '/shared/inside tmpfs' /proc/self/mounts || true
exit $status
"#;

fn container(bundle: &Path, runtime: &str, apparmor: &str) -> Output {
    assert!(is_root(), "run this test as root: it starts containers as CRI-O does");
    // The mapped root must be able to walk there.
    let inside = ["dev", "lib", "lib64", "proc", "shared", "usr"].map(|name| format!("rootfs/{name}"));
    for folder in ["", "rootfs", "shared"].into_iter().chain(inside.iter().map(String::as_str)) {
        std::fs::create_dir_all(bundle.join(folder)).expect("a folder");
        std::fs::set_permissions(bundle.join(folder), PermissionsExt::from_mode(0o755)).expect("a mode");
    }
    drop(tool("crun", "crun"));
    let mut unshare = tool("unshare", "util-linux");
    unshare.args(["--mount", "--", "sh", "-ec", RUN, "run"]);
    run(unshare.arg(PACKAGE.path().join("root")).arg(bundle).arg(runtime).arg(apparmor))
}

#[test]
fn every_container_has_seccomp_unless_it_was_asked_to_have_none() {
    let deny = |name: &str, errno: Option<u32>| {
        let rule = json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.unwrap_or(1)});
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [rule]})
    };
    // What CRI-O 1.17 makes of a profile for runtime/default: every errnoRet is gone.
    let stripped = deny("clone3", None);
    let own = deny("clone3", Some(7));
    // ENOSYS for what the profile does not know, so that a C library takes the older way; EPERM for what it refuses.
    let check = |seccomp: &Value, asked: Option<&str>, mode: &str, clone3: &str, unshare: &str| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        put(folder.path().join("config.json"), config(seccomp, asked).to_string());
        let output = container(folder.path(), "/usr/lib/hale/crun", "");
        let text = said(&output);
        assert!(output.status.success(), "{asked:?}: {text}");
        let field =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        let found = [field("Seccomp:"), field("clone3:"), field("unshare:")];
        assert_eq!(found, [mode, clone3, unshare], "{asked:?}: {text}");
        assert_eq!([field("NoNewPrivs:"), field("CapEff:")], ["1", "0000000000000400"], "{text}");
    };
    check(&Value::Null, None, "2", "38", "1");
    check(&Value::Null, Some(""), "2", "38", "1");
    check(&stripped, Some("runtime/default"), "2", "38", "1");
    check(&own, Some("localhost//etc/own.json"), "2", "7", "0");
    check(&Value::Null, Some("unconfined"), "0", "22", "0");
}

/// What all of this is for: crun alone runs the same container without a filter.
#[test]
fn crun_alone_runs_it_without_seccomp() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    put(folder.path().join("config.json"), config(&Value::Null, None).to_string());
    let text = said(&container(folder.path(), "/usr/bin/crun", ""));
    assert!(text.contains("Seccomp:\t0\n"), "{text}");
}

#[test]
fn a_container_whose_configuration_cannot_be_read_is_not_started() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    put(folder.path().join("config.json"), "{");
    let output = container(folder.path(), "/usr/lib/hale/crun", "");
    assert!(!output.status.success());
    assert!(said(&output).contains("not a JSON object"), "{}", said(&output));
}

/// CRI-O 1.17 starts a pod's sandbox without a profile. crun itself would need AppArmor in the real kernel, so what
/// is judged is what it was told.
#[test]
fn a_sandbox_is_started_under_the_roles_apparmor_profile() {
    let check = |kind: &str, loaded: &str, expect: &Value| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = config(&Value::Null, None);
        config["annotations"]["io.kubernetes.cri-o.ContainerType"] = kind.into();
        let path = folder.path().join("config.json");
        put(&path, config.to_string());
        let output = container(folder.path(), "/usr/lib/hale/crun", loaded);
        assert!(!loaded.is_empty() || output.status.success(), "{kind}: {}", said(&output));
        let told: Value = serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON");
        assert_eq!(&told["process"]["apparmorProfile"], expect, "{kind}, {loaded}: {}", said(&output));
        assert_eq!(told["linux"]["resources"]["memory"], json!({}));
    };
    check("sandbox", "crio-default-1.17.4 (enforce)", &"crio-default-1.17.4".into());
    check("sandbox", "another (enforce)", &Value::Null);
    check("sandbox", "", &Value::Null);
    check("container", "crio-default-1.17.4 (enforce)", &Value::Null);
}

/// A privileged pod whose `mountPropagation` is `Bidirectional`, as CRI-O writes it: what it mounts over a folder of the
/// host's is its own affair. crun alone would mount it over the host's folder.
#[test]
fn what_a_container_mounts_does_not_reach_the_host() {
    let check = |runtime: &str, expect: bool| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = config(&Value::Null, Some("unconfined"));
        let all = json!(["CAP_SYS_ADMIN"]);
        config["process"]["capabilities"] =
            json!({"bounding": all, "effective": all, "inheritable": all, "permitted": all});
        config["process"]["args"] = json!(["/usr/bin/mount", "-t", "tmpfs", "tmpfs", "/shared/inside"]);
        config["mounts"].as_array_mut().expect("a list").push(json!({
            "destination": "/shared", "source": folder.path().join("shared"), "type": "bind",
            "options": ["rbind", "rshared"],
        }));
        config["linux"]["rootfsPropagation"] = "rshared".into();
        put(folder.path().join("config.json"), config.to_string());
        let output = container(folder.path(), runtime, "");
        assert!(output.status.success(), "{runtime}: {}", said(&output));
        assert_eq!(said(&output).contains("/shared/inside tmpfs"), expect, "{runtime}: {}", said(&output));
    };
    check("/usr/bin/crun", true);
    check("/usr/lib/hale/crun", false);
}
