//! What a container sees of the host's folders that its pod mounts: never the runtime's, the kubelet's or other pods'. Each case is
//! tried with the pinned crun alone, too, where the same mount shows what was planted and lets it be written to.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tests::hale;
use tests::tools::{is_root, put, run, said, tool};

/// The folders that the runtime keeps, in miniature, with something planted in each; and ways to them.
const RUN: &str = r#"
mount --make-rprivate /
! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified
for folder in /run /var/lib /srv; do mount -t tmpfs -o mode=755 tmpfs "$folder"; done
# A copy of what is laid over /usr has the images.
mount -t tmpfs tmpfs /media
mkdir /media/upper /media/work
mount -t overlay overlay -o "lowerdir=$1/usr:/usr,upperdir=/media/upper,workdir=/media/work" /usr
own=01234567-89ab-cdef-0123-456789abcdef
other=ffffffff-89ab-cdef-0123-456789abcdef
for folder in /run/containers/storage /run/crio /var/lib/containers /var/lib/kubelet/pods/$own/volumes/v \
    /var/lib/kubelet/pods/$other/volumes/v /usr/lib/hale/images/overlay /srv/plain /srv/volume /srv/theirs/x; do
    mkdir -p "$folder"
    echo secret >"$folder/planted"
    chmod 0777 "$folder"
    chmod 0666 "$folder/planted"
done
mkdir /srv/alias
mount --bind /var/lib/containers /srv/alias
mount --bind /run/crio /var/lib/kubelet/pods/$own/volumes/v
mkdir -p /var/lib/kubelet/pods/$own/volumes/w
echo mine >/var/lib/kubelet/pods/$own/volumes/w/planted
chmod 0666 /var/lib/kubelet/pods/$own/volumes/w/planted
ln -s /run/containers/storage /srv/link
chown 10000000:10000000 /srv/theirs
chmod 0755 /srv/theirs
exec "$3" --root=/run/crun --cgroup-manager=disabled run --bundle="$2/bundle" hale-test
"#;

/// Prints each planted file that is there, and whether it could be written to.
const PROBE: &str = r#"
use File::Find;
no warnings;
find({ no_chdir => 1, wanted => sub { return unless /\/planted$/;
    print substr($_, 5), open(my $file, ">>", $_) ? " written" : " seen", "\n" } }, "/host");
"#;

const OWN: &str = "/var/lib/kubelet/pods/01234567-89ab-cdef-0123-456789abcdef/volumes";

struct Case<'a> {
    source: &'a str,
    option: &'a str,
    capabilities: &'a [&'a str],
}

/// What was found, sorted; `None` when the container was refused.
fn found(case: &Case, runtime: &str) -> Option<Vec<String>> {
    assert!(is_root(), "run this test as root: it starts containers as CRI-O does");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for inside in ["", "bundle", "rootfs", "rootfs/host"] {
        std::fs::create_dir_all(folder.path().join(inside)).expect("a folder");
        std::fs::set_permissions(folder.path().join(inside), PermissionsExt::from_mode(0o755))
            .expect("a mode");
    }
    for inside in ["dev", "lib", "lib64", "proc", "usr"] {
        std::fs::create_dir(folder.path().join("rootfs").join(inside)).expect("a folder");
    }
    let mut config = hale::container(&folder.path().join("rootfs"), &["/usr/bin/perl", "-e", PROBE]);
    config["mounts"].as_array_mut().expect("a list").push(hale::bind(case.source, "/host", &[case.option]));
    config["linux"]["cgroupsPath"] = "kubepods-pod01234567_89ab_cdef_0123_456789abcdef.slice:crio:x".into();
    let power: Value = json!(case.capabilities);
    config["process"]["capabilities"] =
        json!({"bounding": power, "effective": power, "inheritable": power, "permitted": power});
    put(folder.path().join("bundle/config.json"), config.to_string());
    drop(tool("crun", "crun"));
    let mut unshare = tool("unshare", "util-linux");
    unshare.args(["--mount", "--", "sh", "-ec", RUN, "run"]);
    let output = run(unshare.arg(hale::root()).arg(folder.path()).arg(runtime));
    let text = said(&output);
    if text.contains("hale's shim") {
        return None;
    }
    assert!(output.status.success(), "{} {}: {text}", case.source, case.option);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    Some(lines)
}

fn check(source: &str, option: &str, capabilities: &[&str], shim: Option<&[&str]>, alone: &[&str]) {
    let case = Case { source, option, capabilities };
    let seen = found(&case, "/usr/lib/hale/crun");
    assert_eq!(
        seen.as_deref().map(|lines| lines.iter().map(String::as_str).collect::<Vec<_>>()).as_deref(),
        shim,
        "{source}"
    );
    let control = found(&case, "/usr/bin/crun").expect("crun alone refuses nothing");
    for line in alone {
        assert!(control.iter().any(|found| found == line), "{source}: {line} is not in {control:?}");
    }
}

#[test]
fn what_lies_above_is_shown_without_them() {
    check("/run", "rbind", &[], Some(&[]), &["/containers/storage/planted written", "/crio/planted written"]);
    check("/run", "bind", &["CAP_DAC_OVERRIDE"], Some(&[]), &["/crio/planted written"]);
    check("/var/lib", "rbind", &[], Some(&[]), &["/containers/planted written"]);
    check("/usr", "rbind", &[], Some(&[]), &["/lib/hale/images/overlay/planted written"]);
    check("/usr/lib/hale", "bind", &[], Some(&[]), &["/images/overlay/planted written"]);
    let plain = "/planted written";
    check("/srv/plain", "rbind", &["CAP_DAC_OVERRIDE"], Some(&[plain]), &[plain]);
    // What is mounted below is not shown with it; Debian's crun would not show it either.
    check("/", "rbind", &[], Some(&[]), &[]);
    check("/var", "rbind", &[], Some(&[]), &[]);
    let others = ["/plain/planted written", "/theirs/x/planted written", "/volume/planted written"];
    check("/srv", "rbind", &[], Some(&others), &others);
}

#[test]
fn what_is_one_of_them_is_refused() {
    let written = ["/planted written"];
    check("/run/containers/storage", "rbind", &[], None, &written);
    check("/srv/link", "rbind", &[], None, &written);
    check("/srv/alias", "bind", &[], None, &written);
    check(
        "/var/lib/kubelet/pods/ffffffff-89ab-cdef-0123-456789abcdef/volumes/v",
        "bind",
        &[],
        None,
        &written,
    );
    check("/srv/plain/../../run/crio", "bind", &[], None, &written);
    // A folder of a pod's, by which it could lead elsewhere in the meantime.
    check("/srv/theirs/x", "bind", &[], None, &written);
    // Who may mount could take the cover off.
    check("/run", "rbind", &["CAP_SYS_ADMIN"], None, &["/crio/planted written"]);
}

#[test]
fn a_pod_has_its_own_volumes() {
    check(&format!("{OWN}/w"), "rbind", &[], Some(&["/planted written"]), &["/planted written"]);
    // Its own by path alone: a volume that is another folder.
    check(&format!("{OWN}/v"), "rbind", &[], None, &["/planted written"]);
}
