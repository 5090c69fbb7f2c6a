use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::fake::Fake;

const SHIM: &str = "apparmor-profile = \"crio-default-1.17.4\"\nfirst-id = 10000000\nids = 65536\ncontrol-plane-id = 20000000\n";

/// A bundle with a configuration, as a folder that only its owner can write to.
fn made(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    folder
}

fn world() -> Fake {
    let world = Fake::new();
    world.make(SECCOMP, r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#);
    world.make(Settings::PATH, SHIM);
    world
}

fn need_root() {
    assert!(rustix::process::geteuid().is_root(), "run this test as root: bundles are root's");
}

#[test]
fn a_bundle_is_rewritten_whole_or_not_at_all() {
    need_root();
    let (dir, world) = (made(r#"{"linux":{"resources":{"memory":{"limit":0}}}}"#), Fake::new());
    let config = dir.path().join("config.json");
    world.make(Settings::PATH, SHIM);
    assert!(prepare(dir.path(), &world).is_err(), "a container must not run without its profile");
    world.make(SECCOMP, r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#);
    prepare(dir.path(), &world).unwrap();
    let expect = r#"{"linux":{"resources":{"memory":{}},"seccomp":{"defaultAction":"SCMP_ACT_ERRNO"}}}"#;
    assert_eq!(std::fs::read_to_string(&config).unwrap(), expect);
    prepare(dir.path(), &world).unwrap();
    assert_eq!(std::fs::read_to_string(&config).unwrap(), expect);
    std::fs::write(&config, "{").unwrap();
    assert!(prepare(dir.path(), &world).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// By what the kernel says: crun would not start a sandbox under a profile that is not there.
#[test]
fn a_sandbox_gets_the_roles_profile_where_the_kernel_has_it() {
    need_root();
    let check = |enabled: &str, loaded: &str, expect: bool| {
        let sandbox = r#"{"process":{},"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ERRNO"},"namespaces":[{"type":"user"}]}}"#;
        let (dir, world) = (made(sandbox), world());
        world.make(ENABLED, enabled);
        world.make(LOADED, loaded);
        prepare(dir.path(), &world).unwrap();
        let with =
            sandbox.replace("\"process\":{}", "\"process\":{\"apparmorProfile\":\"crio-default-1.17.4\"}");
        let expect = if expect { with.as_str() } else { sandbox };
        let found = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
        assert_eq!(found, expect, "{enabled} {loaded}");
    };
    check("Y\n", "/usr/bin/man (enforce)\ncrio-default-1.17.4 (enforce)\n", true);
    check("Y\n", "crio-default-1.17.4//x (enforce)\ncrio-default-1.17 (enforce)\n", false);
    check("Y\n", "", false);
    check("N\n", "crio-default-1.17.4 (enforce)\n", false);
}

/// What somebody else had or made is not read.
#[test]
fn what_was_not_roots_alone_is_refused() {
    need_root();
    let check = |what: &str, break_it: &dyn Fn(&Path)| {
        let dir = made("{}");
        break_it(dir.path());
        let fault = prepare(dir.path(), &world()).expect_err(what);
        assert_eq!(fault.class(), Class::Integrity, "{what}: {fault}");
    };
    let own = |path: &Path| std::os::unix::fs::chown(path, Some(10_000_000), Some(10_000_000)).unwrap();
    check("a folder of another's", &|dir| own(dir));
    check("a folder that others write to", &|dir| {
        std::fs::set_permissions(dir, PermissionsExt::from_mode(0o777)).unwrap();
    });
    check("a file of another's", &|dir| own(&dir.join("config.json")));
    check("a link", &|dir| symlink("/etc/passwd", dir.join("ctl")).unwrap());
    check("a configuration that is a link", &|dir| {
        std::fs::rename(dir.join("config.json"), dir.join("other")).unwrap();
        symlink(dir.join("other"), dir.join("config.json")).unwrap();
    });
    check("a second name", &|dir| std::fs::hard_link(dir.join("config.json"), dir.join("ctl")).unwrap());
    check("another's file", &|dir| {
        std::fs::write(dir.join("ctl"), "").unwrap();
        own(&dir.join("ctl"));
    });
    let dir = made("{}");
    std::fs::write(dir.path().join("resolv.conf"), "").unwrap();
    own(&dir.path().join("resolv.conf"));
    prepare(dir.path(), &world()).unwrap();
}

#[test]
fn ids_that_meet_are_refused() {
    Settings::parse(SHIM).unwrap();
    for (from, to) in [
        ("20000000", "10000000"),
        ("20000000", "10065535"),
        ("20000000", "9999999"),
        ("20000000", "0"),
        ("20000000", "4294967295"),
        ("first-id = 10000000", "first-id = 0"),
        ("65536", "1"),
        ("ids", "id"),
    ] {
        assert!(Settings::parse(&SHIM.replacen(from, to, 1)).is_err(), "{from} {to}");
    }
}
