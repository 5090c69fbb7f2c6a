//! The second name of `hale`: `/usr/lib/hale/crun`, which CRI-O 1.17 calls in place of the pinned crun.
//!
//! CRI-O 1.17 writes `linux.resources.memory.limit: 0` for a container without a limit, which crun 0.14 and
//! later applies as zero bytes; it leaves seccomp off unless the pod asks; and a pod's sandbox, the container that
//! holds its namespaces, gets no AppArmor profile. And crun lets a container's mounts reach the host where its
//! pod asks for that. So on `create` and `run` the bundle's `config.json` loses the zero limit, gets the default
//! profiles if it has none and mounts that go one way only, and the pinned crun is executed. Every byte that is
//! not part of those edits stays as it was.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fault::{Fault, Result};
use crate::files;
use crate::role::Role;
use crate::world::{Real, World};

mod edit;

#[cfg(any(test, fuzzing))]
pub(crate) use edit::others;
pub use edit::{Defaults, edit};

/// The pinned crun.
pub const CRUN: &str = "/usr/bin/crun";
/// The seccomp profile of a container that asks for none: `linux.seccomp` of the OCI runtime specification.
/// What it does not list is answered with ENOSYS, so that a C library falls back to what is listed; what makes
/// namespaces, mounts, modules or keys, and sockets to hypervisors and kernel crypto, is refused. x86-64 alone:
/// a process that enters the kernel by the 32-bit table is killed.
pub const SECCOMP: &str = "/usr/lib/hale/seccomp.json";
/// The name under which this program is the shim.
pub const NAME: &str = "crun";

/// Edits what there is to edit and executes the pinned crun; returns only if something failed.
pub fn run(arguments: &[OsString]) -> Fault {
    if let Some(bundle) = bundle(arguments)
        && let Err(fault) = rewrite(&bundle, &Real::new(None))
    {
        return fault.within(format!("hale's shim: {}", bundle.display()));
    }
    let error = Command::new(CRUN).arg0(NAME).args(arguments).exec();
    Fault::io("execute", CRUN, error)
}

/// Options before the command that take the next argument as their value (crun(1), crun 0.14 to 1.30).
const VALUED: [&str; 5] = ["--cgroup-manager", "--criu", "--log", "--log-format", "--root"];

/// The bundle that a command line is about to make a container of; `None` when it makes none.
pub fn bundle(arguments: &[OsString]) -> Option<PathBuf> {
    let mut rest = arguments.iter();
    let command = loop {
        let argument = rest.next()?.as_bytes();
        if !argument.starts_with(b"-") {
            break argument;
        }
        if VALUED.iter().any(|name| name.as_bytes() == argument) {
            rest.next();
        }
    };
    if !matches!(command, b"create" | b"run") {
        return None;
    }
    let mut bundle = PathBuf::from(".");
    while let Some(argument) = rest.next() {
        let bytes = argument.as_bytes();
        if matches!(bytes, b"--bundle" | b"-b") {
            bundle = PathBuf::from(rest.next()?);
        } else if let Some(path) = bytes.strip_prefix(b"--bundle=") {
            bundle = PathBuf::from(OsStr::from_bytes(path));
        } else if let Some(path) = bytes.strip_prefix(b"-b") {
            bundle = PathBuf::from(OsStr::from_bytes(path));
        }
    }
    Some(bundle)
}

/// Edits `config.json` of `bundle` in one rename. Not synced: a bundle does not outlive the machine's uptime.
pub fn rewrite(bundle: &Path, world: &dyn World) -> Result<()> {
    let path = bundle.join("config.json");
    let text = fs::read_to_string(&path).map_err(|e| Fault::io("read", &path, e))?;
    let seccomp = files::need(world, SECCOMP)?;
    let defaults = Defaults { seccomp: &seccomp, apparmor: &|| apparmor(world) };
    let edited = edit(&text, &defaults).map_err(|f| f.within(path.display()))?;
    let Some(edited) = edited else { return Ok(()) };
    let scratch = bundle.join(format!(".config.json.hale.{}", std::process::id()));
    let written = replace(&path, &scratch, edited.as_bytes());
    if written.is_err() {
        let _ = fs::remove_file(&scratch);
    }
    written.map_err(|e| Fault::io("write", &path, e))
}

/// Whether the kernel has AppArmor (Linux, Documentation/admin-guide/LSM/apparmor.rst).
const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
/// The profiles that are loaded, each as `name (mode)`.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

/// The role's AppArmor profile, if it is loaded: CRI-O does that when it starts, on a kernel that has AppArmor.
fn apparmor(world: &dyn World) -> Result<Option<String>> {
    let profile = Role::parse(&files::need(world, Role::PATH)?)?.runtime.apparmor_profile;
    let enabled = files::read(world, ENABLED)?.is_some_and(|text| text.starts_with('Y'));
    let loaded = if enabled { files::read(world, LOADED)?.unwrap_or_default() } else { String::new() };
    let mut names = loaded.lines().filter_map(|line| line.rsplit_once(" ("));
    Ok(names.any(|(name, _)| name == profile).then_some(profile))
}

fn replace(path: &Path, scratch: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let old = fs::symlink_metadata(path)?;
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(old.mode() & 0o777).open(scratch)?;
    file.write_all(bytes)?;
    fchown(&file, Some(old.uid()), Some(old.gid()))?;
    fs::rename(scratch, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn only_create_and_run_have_a_bundle() {
        let check = |line: &str, expect: Option<&str>| {
            assert_eq!(bundle(&words(line)).as_deref(), expect.map(Path::new), "{line}");
        };
        check("--root=/run/crun --systemd-cgroup create --bundle /b --pid-file /p id", Some("/b"));
        check("--root /run/crun create --bundle=/b id", Some("/b"));
        check("--log create delete --bundle /b id", None);
        check("run -b /b id", Some("/b"));
        check("run -b/b id", Some("/b"));
        check("create id", Some("."));
        check("start create", None);
        check("--version", None);
        check("create --bundle", None);
    }

    #[test]
    fn a_bundle_is_rewritten_whole_or_not_at_all() {
        let (dir, world) = (tempfile::tempdir().unwrap(), Fake::new());
        let config = dir.path().join("config.json");
        fs::write(&config, r#"{"linux":{"resources":{"memory":{"limit":0}}}}"#).unwrap();
        assert!(rewrite(dir.path(), &world).is_err(), "a container must not run without its profile");
        world.make(SECCOMP, r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#);
        rewrite(dir.path(), &world).unwrap();
        let expect = r#"{"linux":{"resources":{"memory":{}},"seccomp":{"defaultAction":"SCMP_ACT_ERRNO"}}}"#;
        assert_eq!(fs::read_to_string(&config).unwrap(), expect);
        rewrite(dir.path(), &world).unwrap();
        assert_eq!(fs::read_to_string(&config).unwrap(), expect);
        fs::write(&config, "{").unwrap();
        assert!(rewrite(dir.path(), &world).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// By what the kernel says: crun would not start a sandbox under a profile that is not there.
    #[test]
    fn a_sandbox_gets_the_roles_profile_where_the_kernel_has_it() {
        let check = |enabled: &str, loaded: &str, expect: bool| {
            let (dir, world) = (tempfile::tempdir().unwrap(), Fake::new());
            let config = dir.path().join("config.json");
            let sandbox = r#"{"process":{},"annotations":{"io.kubernetes.cri-o.ContainerType":"sandbox"},"linux":{"seccomp":{}}}"#;
            fs::write(&config, sandbox).unwrap();
            world.make(SECCOMP, "{}");
            assert!(rewrite(dir.path(), &world).is_err(), "nobody says which profile");
            world.make(Role::PATH, include_str!("../examples/role.toml"));
            world.make(ENABLED, enabled);
            world.make(LOADED, loaded);
            rewrite(dir.path(), &world).unwrap();
            let with = sandbox.replace("{},\"ann", "{\"apparmorProfile\":\"crio-default-1.17.4\"},\"ann");
            let expect = if expect { with.as_str() } else { sandbox };
            assert_eq!(fs::read_to_string(&config).unwrap(), expect, "{enabled} {loaded}");
        };
        check("Y\n", "/usr/bin/man (enforce)\ncrio-default-1.17.4 (enforce)\n", true);
        check("Y\n", "crio-default-1.17.4//x (enforce)\ncrio-default-1.17 (enforce)\n", false);
        check("Y\n", "", false);
        check("N\n", "crio-default-1.17.4 (enforce)\n", false);
    }
}
