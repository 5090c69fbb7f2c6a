//! The node's units, judged by systemd's own tools of Debian's package `systemd`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const UNITS: &str = "usr/lib/systemd/system";
/// What the units execute and refer to; empty files will do.
const PROGRAMS: [&str; 5] = ["hale", "crio", "kubelet", "kube-proxy", "kill"];
/// Units of the distribution that ours name.
const OTHERS: [&str; 12] = [
    "network-online.target",
    "multi-user.target",
    "timers.target",
    "local-fs.target",
    "basic.target",
    "sysinit.target",
    "shutdown.target",
    "apparmor.service",
    "systemd-modules-load.service",
    "systemd-sysctl.service",
    "systemd-sysusers.service",
    "systemd-tmpfiles-setup.service",
];

/// A root with our units, and as much of a distribution as they name.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let overlay = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("overlays/common").join(UNITS);
    let units = root.path().join(UNITS);
    fs::create_dir_all(&units).unwrap();
    for name in OTHERS {
        let service = if name.ends_with(".service") { "[Service]\nExecStart=/usr/bin/kill\n" } else { "" };
        fs::write(units.join(name), format!("[Unit]\nDefaultDependencies=no\n{service}")).unwrap();
    }
    for entry in fs::read_dir(overlay).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), units.join(entry.file_name())).unwrap();
        }
    }
    for directory in ["usr/bin", "bin"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
        for name in PROGRAMS {
            let path = root.path().join(directory).join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    root
}

fn analyze(root: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("systemd-analyze").arg("--root").arg(root).args(arguments).output();
    let output = output.expect("systemd-analyze; it comes with Debian's package systemd");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn every_unit_is_clean() {
    let root = root();
    let names = fs::read_dir(root.path().join(UNITS))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names.filter(|name| !OTHERS.contains(&name.as_str())).collect();
    assert!(names.len() >= 7, "{names:?}");
    for name in names {
        let (_, said) = analyze(root.path(), &["--man=no", "--recursive-errors=no", "verify", &name]);
        assert_eq!(said.trim(), "", "{name}");
    }
}

#[test]
fn a_wrong_line_would_be_seen() {
    let root = root();
    fs::write(
        root.path().join(UNITS).join("wrong.service"),
        "[Service]\nExecStart=/usr/bin/kill\nNoSuchLine=1\n",
    )
    .unwrap();
    let (_, said) = analyze(root.path(), &["--man=no", "--recursive-errors=no", "verify", "wrong.service"]);
    assert!(said.contains("NoSuchLine"), "{said}");
}

#[test]
fn our_units_expose_at_most_half() {
    let root = root();
    for name in ["hale-bootstrap.service", "kube-proxy.service", "hale-hold.service", "hale-renew.service"] {
        let arguments = ["security", "--offline=true", "--no-pager", "--threshold=50", name];
        let (fits, said) = analyze(root.path(), &arguments);
        assert!(fits && said.contains("Overall exposure level"), "{name}:\n{said}");
    }
}
