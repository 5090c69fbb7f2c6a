//! The packaged shim before Debian's crun: what the kernel says of a process in a container whose
//! configuration is such as CRI-O 1.17 writes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tests::hale;
use tests::tools::{is_root, put, run, said, tool};

/// Prints the process's own status, and how the kernel answers clone3 and unshare, by their errno.
const PROBE: &str = "open S, '/proc/self/status'; print <S>; \
    syscall(435, 0, 0); print 'clone3:', $!+0, qq(\\n); $! = 0; syscall(272, 0x10000000); print 'unshare:', $!+0, qq(\\n);";

/// Whether a container holds its pod's namespaces or joins them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sandbox,
    Member,
}

/// Where the process stands whose user namespace a member joins.
const HOLDER: &str = "/proc/HOLDER/ns/user";

fn config(folder: &Path, seccomp: &Value, asked: Option<&str>, kind: Kind) -> Value {
    let mut config = hale::container(&folder.join("rootfs"), &["/usr/bin/perl", "-e", PROBE]);
    if let Some(asked) = asked {
        config["annotations"]["io.kubernetes.cri-o.SeccompProfilePath"] = asked.into();
    }
    if !seccomp.is_null() {
        config["linux"]["seccomp"] = seccomp.clone();
    }
    if kind == Kind::Member {
        config["linux"]["namespaces"][5]["path"] = HOLDER.into();
    }
    config
}

/// Lays the package over `/usr` in a mount namespace and runs a bundle with the program `$3`. crun refuses
/// both kinds of control groups at once, though it is told to use none. What the kernel says of AppArmor is `$4`.
/// A process holds a user namespace for members, mapped as `$5` says.
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
unshare --user sleep 60 &
holder=$!
until [ "$(readlink "/proc/$holder/ns/user")" != "$(readlink /proc/self/ns/user)" ]; do sleep 0.01; done
for map in uid_map gid_map; do printf "$5" >"/proc/$holder/$map"; done
sed -i "s#/proc/HOLDER/#/proc/$holder/#" "$2/bundle/config.json"
status=0
"$3" --root="$2/state" --cgroup-manager=disabled run --bundle="$2/bundle" hale-test || status=$?
kill "$holder"
grep -o '/shared/inside tmpfs' /proc/self/mounts || true
exit $status
"#;

/// The map of ordinary pods.
const PODS: &str = "0 10000000 65536\\n";

fn container(folder: &Path, config: &str, runtime: &str, apparmor: &str, map: &str) -> Output {
    assert!(is_root(), "run this test as root: it starts containers as CRI-O does");
    // The mapped root must be able to walk to what is not the bundle.
    let inside = ["dev", "lib", "lib64", "proc", "shared", "usr"].map(|name| format!("rootfs/{name}"));
    for folder_of in ["", "bundle", "rootfs", "shared"].into_iter().chain(inside.iter().map(String::as_str)) {
        std::fs::create_dir_all(folder.join(folder_of)).expect("a folder");
        std::fs::set_permissions(folder.join(folder_of), PermissionsExt::from_mode(0o755)).expect("a mode");
    }
    put(folder.join("bundle/config.json"), config);
    drop(tool("crun", "crun"));
    let mut unshare = tool("unshare", "util-linux");
    unshare.args(["--mount", "--", "sh", "-ec", RUN, "run"]);
    run(unshare.arg(hale::root()).arg(folder).arg(runtime).arg(apparmor).arg(map))
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
    let check =
        |kind: Kind, seccomp: &Value, asked: Option<&str>, mode: &str, clone3: &str, unshare: &str| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let config = config(folder.path(), seccomp, asked, kind).to_string();
            let output = container(folder.path(), &config, "/usr/lib/hale/crun", "", PODS);
            let text = said(&output);
            assert!(output.status.success(), "{asked:?}: {text}");
            let field =
                |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
            let found = [field("Seccomp:"), field("clone3:"), field("unshare:")];
            assert_eq!(found, [mode, clone3, unshare], "{asked:?}: {text}");
            assert_eq!([field("NoNewPrivs:"), field("CapEff:")], ["1", "0000000000000400"], "{text}");
        };
    check(Kind::Member, &Value::Null, None, "2", "38", "1");
    check(Kind::Member, &Value::Null, Some(""), "2", "38", "1");
    check(Kind::Member, &stripped, Some("runtime/default"), "2", "38", "1");
    check(Kind::Member, &own, Some("localhost//etc/own.json"), "2", "7", "0");
    check(Kind::Member, &Value::Null, Some("unconfined"), "0", "22", "0");
    // A sandbox runs pause alone.
    check(Kind::Sandbox, &Value::Null, Some("unconfined"), "2", "38", "1");
    check(Kind::Sandbox, &own, Some("localhost//etc/own.json"), "2", "38", "1");
}

/// What all of this is for: crun alone runs the same container without a filter.
#[test]
fn crun_alone_runs_it_without_seccomp() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = config(folder.path(), &Value::Null, None, Kind::Member).to_string();
    let text = said(&container(folder.path(), &config, "/usr/bin/crun", "", PODS));
    assert!(text.contains("Seccomp:\t0\n"), "{text}");
}

#[test]
fn a_container_whose_configuration_cannot_be_read_is_not_started() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = container(folder.path(), "{", "/usr/lib/hale/crun", "", PODS);
    assert!(!output.status.success());
    assert!(said(&output).contains("config.json: EOF"), "{}", said(&output));
}

/// CRI-O 1.17 starts a pod's sandbox without a profile. crun itself would need AppArmor in the real kernel, so what
/// is judged is what it was told.
#[test]
fn a_sandbox_is_started_under_the_roles_apparmor_profile() {
    let check = |kind: Kind, loaded: &str, expect: &Value| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = config(folder.path(), &Value::Null, None, kind).to_string();
        let output = container(folder.path(), &config, "/usr/lib/hale/crun", loaded, PODS);
        assert!(!loaded.is_empty() || output.status.success(), "{}", said(&output));
        let told = std::fs::read(folder.path().join("bundle/config.json")).expect("a file");
        let told: Value = serde_json::from_slice(&told).expect("JSON");
        assert_eq!(&told["process"]["apparmorProfile"], expect, "{loaded}: {}", said(&output));
        assert_eq!(told["linux"]["resources"]["memory"], json!({}));
    };
    check(Kind::Sandbox, "crio-default-1.17.4 (enforce)", &"crio-default-1.17.4".into());
    check(Kind::Sandbox, "another (enforce)", &Value::Null);
    check(Kind::Sandbox, "", &Value::Null);
    check(Kind::Member, "crio-default-1.17.4 (enforce)", &Value::Null);
}

/// A privileged pod whose `mountPropagation` is `Bidirectional`, as CRI-O writes it: what it mounts over a folder of the
/// host's is its own affair. crun alone would mount it over the host's folder.
#[test]
fn what_a_container_mounts_does_not_reach_the_host() {
    let check = |runtime: &str, expect: bool| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = config(folder.path(), &Value::Null, Some("unconfined"), Kind::Member);
        let all = json!(["CAP_SYS_ADMIN"]);
        config["process"]["capabilities"] =
            json!({"bounding": all, "effective": all, "inheritable": all, "permitted": all});
        config["process"]["args"] = json!(["/usr/bin/mount", "-t", "tmpfs", "tmpfs", "/shared/inside"]);
        config["mounts"].as_array_mut().expect("a list").push(json!({
            "destination": "/shared", "source": folder.path().join("shared"), "type": "bind",
            "options": ["rbind", "rshared"],
        }));
        config["linux"]["rootfsPropagation"] = "rshared".into();
        let output = container(folder.path(), &config.to_string(), runtime, "", PODS);
        assert!(output.status.success(), "{runtime}: {}", said(&output));
        assert_eq!(said(&output).contains("/shared/inside tmpfs"), expect, "{runtime}: {}", said(&output));
    };
    check("/usr/bin/crun", true);
    check("/usr/lib/hale/crun", false);
}

/// A member of a static pod is what the control plane is on the host, because of its sandbox's map and of nothing else; what
/// its key's owner allows, it may read, and an ordinary pod may not, whatever it may override.
#[test]
fn only_a_static_pod_is_the_control_plane() {
    let check = |map: &str, runtime: &str, expect: &[&str]| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = folder.path().join("ca.key");
        put(&key, "the key of the CA\n");
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("a mode");
        std::os::unix::fs::chown(&key, Some(20_000_000), Some(20_000_000)).expect("an owner");
        let mut config = config(folder.path(), &Value::Null, None, Kind::Member);
        let power =
            json!(["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_CHOWN", "CAP_FOWNER", "CAP_SETUID"]);
        config["process"]["capabilities"] =
            json!({"bounding": power, "effective": power, "inheritable": power, "permitted": power});
        std::fs::create_dir(folder.path().join("rootfs")).expect("a folder");
        put(folder.path().join("rootfs/key"), "");
        config["mounts"].as_array_mut().expect("a list").push(hale::bind(
            key.to_str().expect("UTF-8"),
            "/key",
            &["bind"],
        ));
        config["process"]["args"][2] = "print qq(uid $<\n); open F, '/key' and print <F>".into();
        let output = container(folder.path(), &config.to_string(), runtime, "", map);
        assert_eq!(said(&output).lines().collect::<Vec<_>>(), expect, "{map}");
    };
    let own = "0 10000000 65535\\n65535 20000000 1\\n";
    check(own, "/usr/lib/hale/crun", &["uid 65535", "the key of the CA"]);
    check(PODS, "/usr/lib/hale/crun", &["uid 0"]);
    // What its owner's id in a map is worth.
    check("0 20000000 65536\\n", "/usr/bin/crun", &["uid 0", "the key of the CA"]);
}

/// What a pod says of itself in annotations does not reach crun, which would act on it as the host's root.
#[test]
fn annotations_have_no_effect_on_the_host() {
    let check = |runtime: &str, expect: bool| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = config(folder.path(), &Value::Null, None, Kind::Sandbox);
        let evidence = folder.path().join("a-pod-was-here");
        config["annotations"]["run.oci.hooks.stdout"] = evidence.to_str().expect("UTF-8").into();
        // crun opens the file when there is a hook to run; the runtime's own are such.
        config["hooks"] = json!({"prestart": [{"path": "/usr/bin/true"}]});
        let output = container(folder.path(), &config.to_string(), runtime, "", PODS);
        assert!(output.status.success(), "{runtime}: {}", said(&output));
        assert_eq!(evidence.exists(), expect, "{runtime}: {}", said(&output));
    };
    check("/usr/bin/crun", true);
    check("/usr/lib/hale/crun", false);
}

/// The kernel takes the lower 32 bits of a family and of a protocol, whatever stands above them; so must the filter.
#[test]
fn sockets_are_of_few_kinds_however_their_numbers_are_written() {
    const TRY: &str =
        "for (@ARGV) { my ($f, $p) = map { oct } split /,/; $! = 0; my $s = syscall(41, $f, 3, $p);
        print qq($_:), $!+0, qq(\n) }";
    const ABOVE: u64 = 1 << 32;
    // Netlink's protocols: the audit's is 9 (netlink(7)).
    let may = [(1, 0), (2, 0), (10, 0), (16, 0), (16, 4), (16, 16), (17, 0)];
    let may_not = [(3, 0), (9, 0), (16, 6), (16, 9), (29, 0), (31, 0), (38, 0), (39, 0), (40, 0), (44, 0)];
    let written = |all: &[(u64, u64)]| {
        let each = |(family, protocol): &(u64, u64)| {
            let above = [(0, 0), (ABOVE, 0), (0, ABOVE), (ABOVE, ABOVE)];
            above.map(|(f, p)| format!("{:#x},{:#x}", family + f, protocol + p))
        };
        all.iter().flat_map(each).collect::<Vec<_>>()
    };
    let answers = |runtime: &str, asked: &[String]| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = config(folder.path(), &Value::Null, None, Kind::Member);
        let words = ["/usr/bin/perl", "-e", TRY].into_iter().chain(asked.iter().map(String::as_str));
        config["process"]["args"] = words.collect();
        let output = container(folder.path(), &config.to_string(), runtime, "", PODS);
        assert!(output.status.success(), "{}", said(&output));
        let lines = said(&output);
        lines.lines().filter_map(|line| line.split_once(':')?.1.parse::<u32>().ok()).collect::<Vec<_>>()
    };
    let refused = answers("/usr/lib/hale/crun", &written(&may_not));
    assert_eq!(refused, vec![38; 4 * may_not.len()], "{:?}", written(&may_not));
    // What is allowed is answered by the kernel: ENOSYS is the filter's alone.
    let allowed = answers("/usr/lib/hale/crun", &written(&may));
    assert!(allowed.len() == 4 * may.len() && !allowed.contains(&38), "{allowed:?}");
    // Without the filter the kernel takes numbers with more above them for what they are.
    let audit = answers("/usr/bin/crun", &written(&[(16, 9)]));
    assert!(audit.iter().all(|answer| *answer == audit[0] && *answer != 38), "{audit:?}");
}
