//! Who may write to the runtime's folders does not become the host's root: attacks on bundles while containers are made as
//! CRI-O 1.17 makes them, by real conmon and crun. Each succeeds without the shim, which shows that it is one.
//!
//! The attacker has what a pod has at the most, the host's id of containers' root, and more than a pod has: it sees the
//! folders and is told each container's id.

use std::path::Path;

use tests::hale;
use tests::tools::{is_root, put, run, said, tool};

/// Lays the package over `/usr` where nobody else sees it.
const RUN: &str = r#"
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$1/usr:/usr" /usr
shift
exec sh "$6/make.sh" "$@"
"#;

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    effects: u32,
    ran: u32,
    refused: u32,
}

const PINNED: [&str; 2] = ["/usr/bin/conmon", "/usr/bin/crun"];
const SHIM: [&str; 2] = ["/usr/lib/hale/conmon", "/usr/lib/hale/crun"];

fn attack(programs: [&str; 2], attack: &str, how: &str, count: u32) -> Outcome {
    assert!(is_root(), "run this test as root: it starts containers as CRI-O does");
    for (name, package) in [("conmon", "conmon"), ("crun", "crun"), ("setpriv", "util-linux")] {
        drop(tool(name, package));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    put(folder.path().join("make.sh"), include_str!("../../guests/takeover/make.sh"));
    put(folder.path().join("attack.pl"), include_str!("../../guests/takeover/attack.pl"));
    let rootfs = Path::new("/var/lib/containers/rootfs");
    put(folder.path().join("config.json"), hale::container(rootfs, &["/usr/bin/sleep", "2"]).to_string());
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("a mode");
    let mut unshare = tool("unshare", "util-linux");
    unshare.args([
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
        "sh",
        "-ec",
        RUN,
        "run",
    ]);
    unshare.arg(hale::root()).args(programs).args([attack, how]).arg(count.to_string()).arg(folder.path());
    let output = run(&mut unshare);
    let text = said(&output);
    let line =
        text.lines().find(|line| line.starts_with("effects ")).unwrap_or_else(|| panic!("{attack}: {text}"));
    let numbers: Vec<u32> = line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    let [effects, _, ran, refused] = numbers[..] else { panic!("{line}") };
    println!("{attack}, {how}: {line}");
    Outcome { effects, ran, refused }
}

/// What of a bundle is read, opened, followed or written by the host's root, each replaced by somebody else's.
const ATTACKS: [&str; 5] = ["config.json", "ctl", "hard-link", "pidfile", "winsz"];

#[test]
fn without_the_shim_each_attack_succeeds() {
    for name in ATTACKS {
        let outcome = attack(PINNED, name, "once", 2);
        assert_eq!((outcome.effects, outcome.ran), (2, 2), "{name}");
    }
    assert!(attack(PINNED, "config.json", "race", 20).effects > 0, "the race is never won: it shows nothing");
}

#[test]
fn what_somebody_put_into_a_bundle_is_refused() {
    for name in ATTACKS.into_iter().chain(["attach", "conmon-pidfile", "shm", "hostname", "resolv.conf"]) {
        assert_eq!(attack(SHIM, name, "once", 2), Outcome { effects: 0, ran: 0, refused: 2 }, "{name}");
    }
}

#[test]
fn two_hundred_containers_are_made_beside_an_attacker() {
    let outcome = attack(SHIM, "config.json", "race", 200);
    assert_eq!((outcome.effects, outcome.ran + outcome.refused), (0, 200));
}

/// And who attacks nothing is not in the way.
#[test]
fn containers_nobody_attacks_run() {
    assert_eq!(attack(SHIM, "nothing", "never", 5), Outcome { effects: 0, ran: 5, refused: 0 });
}
