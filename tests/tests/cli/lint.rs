//! The overlays before Debian's own tools: what lint lets pass, systemd and apt must take too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use builder::base::name::LineName;
use builder::base::text::SourceText;
use builder::base::tree::Kind;
use builder::host::checkout::Project;
use builder::overlay::lint::check_file;
use builder::overlay::role_package::{RolePackage, role_packages};
use builder::recipe::Recipe;
use tests::checkout::top;
use tests::tools::{need_root, put, run, said, succeed, tool};

fn packages_of(role: &str) -> Vec<RolePackage> {
    let project = Project::at(top());
    let files = project.files().unwrap_or_else(|e| panic!("{e}"));
    let recipe = Recipe::parse(files, &LineName::new("1.17").unwrap()).unwrap_or_else(|e| panic!("{e}"));
    let role = recipe.role(role).unwrap();
    role_packages(files, &recipe, role, None, &BTreeMap::new()).unwrap_or_else(|e| panic!("{e}"))
}

/// A root with a role's files, the targets that every systemd has, and programs to be found.
fn root(role: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for package in packages_of(role) {
        for (path, _, text) in &package.rendered.texts {
            put(root.path().join(path.as_str()), text);
        }
        for (path, node) in package.rendered.tree.iter() {
            let path = root.path().join(path.as_str());
            match &node.kind {
                Kind::Dir => fs::create_dir_all(&path).unwrap(),
                Kind::Symlink { target } => std::os::unix::fs::symlink(target, &path).unwrap(),
                Kind::File { .. } => {
                    fs::set_permissions(&path, fs::Permissions::from_mode(node.mode.into())).unwrap()
                }
            }
        }
    }
    let programs = [
        "usr/bin/hale",
        "usr/bin/crio",
        "usr/bin/kubelet",
        "usr/bin/kube-proxy",
        "usr/bin/kill",
        "usr/bin/systemctl",
        "usr/sbin/nft",
        "bin/sh",
    ];
    for program in programs {
        put(root.path().join(program), "#!/bin/sh\n");
        fs::set_permissions(root.path().join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let system = Path::new("usr/lib/systemd/system");
    let units = fs::read_dir(Path::new("/").join(system)).expect("install the Debian package systemd");
    for unit in units.flatten().filter(|unit| unit.file_name().to_string_lossy().ends_with(".target")) {
        if let Ok(text) = fs::read(unit.path()) {
            put(root.path().join(system).join(unit.file_name()), text);
        }
    }
    root
}

fn units(root: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(root.join("usr/lib/systemd/system")).unwrap();
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| [".mount", ".service", ".timer"].iter().any(|end| name.ends_with(end))).collect()
}

#[test]
fn systemd_takes_every_unit_without_a_word() {
    let root = root("master");
    put_machine_unit(root.path());
    let units = units(root.path());
    assert!(units.contains("kube-proxy.service") && units.len() >= 5, "{units:?}");
    for unit in &units {
        let mut verify = tool("systemd-analyze", "systemd");
        verify.arg("verify").arg("--man=no").arg(format!("--root={}", root.path().display()));
        let output = run(verify.arg(root.path().join("usr/lib/systemd/system").join(unit)));
        assert!(output.status.success() && said(&output).is_empty(), "{unit}: {}", said(&output));
    }
}

/// 1.17 and 1.20 share this API, and both drop a field that it does not have with a warning that nobody reads.
#[test]
fn kubeadm_is_told_nothing_that_its_api_does_not_have() {
    for (name, kinds) in [
        ("init.yaml", ["InitConfiguration", "ClusterConfiguration"]),
        ("join.yaml", ["JoinConfiguration"; 2]),
    ] {
        let path = top().join("node/testdata/kubeadm-1.20.2").join(name);
        let text = fs::read_to_string(&path).unwrap();
        for kind in kinds {
            let document =
                text.split("---\n").find(|document| document.contains(kind)).expect("the document");
            let check = |text: &str| {
                check_file("usr/lib/hale/kubeadm.yaml", SourceText::new(name, text))
                    .map_err(|f| f.to_string())
            };
            assert_eq!(check(document).err(), None, "{kind}");
            // The schema is not blind.
            let spoilt = check(
                &document
                    .replace("\"nodeRegistration\"", "\"noderegistration\"")
                    .replace("\"etcd\"", "\"etd\""),
            );
            assert!(spoilt.is_err_and(|told| told.contains("unknown key")), "{kind}");
        }
    }
}

/// The verifier is not blind: it sees a misspelt key in the same root.
#[test]
fn systemd_sees_a_misspelt_key() {
    let root = root("master");
    let unit = root.path().join("usr/lib/systemd/system/crio.service");
    put(&unit, fs::read_to_string(&unit).unwrap().replace("Restart=", "Restrat="));
    let mut verify = tool("systemd-analyze", "systemd");
    verify.arg("verify").arg("--man=no").arg(format!("--root={}", root.path().display()));
    let told = said(&run(verify.arg(unit)));
    assert!(told.contains("Restrat"), "{told}");
}

/// Lines that a cluster would come up without: whoever changes one changes a promise.
#[test]
fn what_is_shipped_says_what_is_promised() {
    let (master, node) = (root("master"), root("node"));
    let check = |root: &Path, file: &str, lines: &[&str]| {
        let text = fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let missing: Vec<_> =
            lines.iter().filter(|line| !text.lines().any(|other| other == **line)).collect();
        assert!(missing.is_empty(), "{file} does not say {missing:?}");
    };
    for root in [master.path(), node.path()] {
        let kubelet = ["failSwapOn: false", "healthzBindAddress: 127.0.0.1", "readOnlyPort: 0"];
        check(root, "usr/lib/hale/kubelet.yaml", &kubelet);
        check(root, "usr/lib/hale/kubelet.yaml", &["rotateCertificates: true"]);
        let proxy = ["healthzBindAddress: 127.0.0.1:10256", "metricsBindAddress: 127.0.0.1:10249"];
        check(root, "usr/lib/hale/kube-proxy.yaml", &proxy);
        let unit = |name: &str, lines: &[&str]| check(root, &format!("usr/lib/systemd/system/{name}"), lines);
        unit(
            "kube-proxy.service",
            &[
                "After=network-online.target kubelet.service",
                "ExecStart=/bin/sh -c '/usr/bin/hale wait && exec /usr/bin/kube-proxy --config=/var/lib/kube-proxy/config.conf'",
            ],
        );
        unit(
            "hale-bootstrap.service",
            &["ConditionPathExists=!/var/lib/hale/bootstrapped", "Restart=on-failure"],
        );
        unit("hale-hold.service", &["ExecStart=/usr/bin/hale hold --wait"]);
        unit("hale-renew.service", &["ExecStart=/usr/bin/hale renew"]);
        let crio =
            ["runtime_path = \"/usr/lib/hale/crun\"", "seccomp_profile = \"/usr/lib/hale/seccomp.json\""];
        check(root, "etc/crio/crio.conf.d/10-hale.conf", &crio);
    }
    // kube-proxy is the gateway's, as the roles say.
    check(master.path(), "usr/lib/hale/role.toml", &["here = true"]);
    check(node.path(), "usr/lib/hale/role.toml", &["here = false"]);
}

/// What depends on a unit whose start failed is dropped for good, however often that unit is started again.
#[test]
fn no_service_of_ours_is_lost_with_anothers_first_start() {
    for role in ["master", "node"] {
        let root = root(role);
        for unit in units(root.path()).into_iter().filter(|unit| unit.ends_with(".service")) {
            let text = fs::read_to_string(root.path().join("usr/lib/systemd/system").join(&unit)).unwrap();
            let hangs =
                |line: &&str| ["Requires=", "BindsTo=", "Requisite="].iter().any(|key| line.starts_with(key));
            assert_eq!(text.lines().find(hangs), None, "{unit}");
        }
    }
}

/// The unit that only a disk of ours has.
fn put_machine_unit(root: &Path) {
    let text = include_str!("../../../overlays/machine/usr/lib/systemd/system/hale-machine.service");
    put(root.join("usr/lib/systemd/system/hale-machine.service"), text);
}

#[test]
fn our_own_units_are_confined() {
    let root = root("master");
    put_machine_unit(root.path());
    let own = ["hale-approve", "hale-bootstrap", "hale-hold", "hale-machine", "hale-renew", "kube-proxy"];
    for unit in own.map(|name| format!("{name}.service")) {
        let mut security = tool("systemd-analyze", "systemd");
        security.args(["security", "--offline=yes", "--threshold=50"]);
        let output = run(security.arg(format!("--root={}", root.path().display())).arg(&unit));
        assert!(output.status.success(), "{unit}: over 5.0\n{}", said(&output));
    }
}

#[test]
fn the_user_and_the_directories_are_made_as_promised() {
    need_root();
    let root = root("master");
    let at = format!("--root={}", root.path().display());
    succeed(tool("systemd-sysusers", "systemd").arg(&at).arg("hale.conf"));
    let read = |file: &str| fs::read_to_string(root.path().join(file)).unwrap();
    let users = [
        ("k8s", 10_000_000, "Root inside containers"),
        ("k8s-control-plane", 20_000_000, "Control plane inside containers"),
        ("etcd", 20_000_001, "etcd inside containers"),
    ];
    let entry =
        |(name, id, about): &(&str, u32, &str)| format!("{name}:x:{id}:{id}:{about}:/:/usr/sbin/nologin\n");
    assert_eq!(read("etc/passwd"), users.iter().map(entry).collect::<String>());
    assert_eq!(read("etc/group"), users.map(|(name, id, _)| format!("{name}:x:{id}:\n")).concat());
    let locked = |line: &str| line.split(':').nth(1).is_some_and(|password| password.starts_with('!'));
    assert!(read("etc/shadow").lines().all(locked), "{}", read("etc/shadow"));
    succeed(tool("systemd-tmpfiles", "systemd").arg(&at).args(["--create", "hale.conf", "hale-master.conf"]));
    for (path, mode, uid, gid) in [
        ("var/lib/kubelet", 0o750, 0, 10_000_000),
        ("var/lib/kubelet/pods", 0o2750, 0, 10_000_000),
        ("var/lib/kube-proxy", 0o750, 0, 0),
    ] {
        let found = fs::metadata(root.path().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (mode, uid, gid), "{path}");
    }
}

#[test]
fn apt_reads_the_pins_and_the_blacklist() {
    let root = root("node");
    let dump = succeed(
        tool("apt-config", "apt").arg("-c").arg(root.path().join("etc/apt/apt.conf.d/60hale")).arg("dump"),
    );
    let dump = String::from_utf8(dump).unwrap();
    assert!(dump.contains("Package-Blacklist:: \"^crun$\";"), "{dump}");
    let mut policy = tool("apt-cache", "apt");
    let preferences = root.path().join("etc/apt/preferences.d/hale");
    policy.arg("-o").arg(format!("Dir::Etc::Preferences={}", preferences.display()));
    policy.args(["-o", "Dir::Etc::PreferencesParts=/dev/null", "policy"]);
    let output = run(&mut policy);
    assert!(output.status.success() && !said(&output).contains("E:"), "{}", said(&output));
}

#[test]
fn maintainer_scripts_are_shell_and_depend_on_exact_versions() {
    for role in ["master", "node"] {
        let packages = packages_of(role);
        for package in &packages {
            for (name, script) in &package.scripts {
                let directory = tempfile::tempdir().unwrap();
                put(directory.path().join(name), script);
                succeed(tool("sh", "dash").arg("-n").arg(directory.path().join(name)));
            }
        }
        let depends = packages[1].control.get("Depends").unwrap();
        for exact in ["kubelet (= 1.17.17+hale1)", "cri-o (= 1.17.4+hale1)", "hale-common (= 1.17.17+hale1)"]
        {
            assert!(depends.contains(exact), "{role}: {depends}");
        }
    }
    let common = |role: &str| packages_of(role).swap_remove(0);
    let (master, node) = (common("master"), common("node"));
    assert_eq!(master.rendered.tree, node.rendered.tree, "one hale-common for every role");
    assert_eq!(master.control, node.control);
}
