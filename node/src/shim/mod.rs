//! The other names of `hale`: `/usr/lib/hale/crun` and `/usr/lib/hale/conmon`, which CRI-O 1.17 calls in place of the
//! pinned programs.
//!
//! CRI-O 1.17 gives a container's bundle to containers' root before the host's root reads it: whoever may write there
//! decides what conmon and crun do as the host's root. So both names take the bundle back first ([`bundle`]), believe
//! CRI-O's other copy of the configuration, and hide from a container what no container may reach, whatever its pod
//! mounts ([`exposure`]).
//!
//! CRI-O 1.17 also writes `linux.resources.memory.limit: 0` for a container without a limit, which crun 0.14 and
//! later applies as zero bytes; it leaves seccomp off unless the pod asks; a pod's sandbox, the container that
//! holds its namespaces, gets no AppArmor profile; and a pod's annotations, by which crun sets properties of the
//! host's, are handed on. [`edit`] sees to these, and gives static pods ids of their own. Every byte that is not part
//! of those edits stays as it was.
//!
//! What is not understood or not as it must be is refused, and told: [`refusal`].

use std::ffi::OsString;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::config::shim::ShimConfig;
use crate::fault::{Fault, Result};
use crate::host::{Host, RealHost, files};

use bundle::Bundle;
use command::CrunRequest;
use container::Container;
mod bundle;
mod command;
mod conmon;
mod container;
mod edit;
mod exposure;
mod mounts;
pub mod refusal;
mod walk;

pub(crate) use bundle::THEIRS;
pub(crate) use container::BUNDLES;
pub use container::ContainerIds;
#[cfg(any(test, fuzzing))]
pub(crate) use edit::others;
pub use edit::{Defaults, edit};
pub use exposure::MountEdits;

/// The pinned crun.
pub const CRUN: &str = "/usr/bin/crun";
/// The pinned conmon.
pub const CONMON: &str = "/usr/bin/conmon";
/// The seccomp profile of a container that asks for none: `linux.seccomp` of the OCI runtime specification.
/// What it does not list is answered with ENOSYS, so that a C library falls back to what is listed; what makes
/// namespaces, mounts, modules or keys, and sockets to hypervisors and kernel crypto, is refused. x86-64 alone:
/// a process that enters the kernel by the 32-bit table is killed.
pub const SECCOMP: &str = "/usr/lib/hale/seccomp.json";

/// The names under which this program is a shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShimName {
    /// Makes a container.
    Crun,
    /// Starts crun and looks after the container.
    Conmon,
}

impl ShimName {
    /// Returns the name that a path ends in.
    pub fn of(program: &Path) -> Option<Self> {
        match program.file_name()?.to_str()? {
            "crun" => Some(Self::Crun),
            "conmon" => Some(Self::Conmon),
            _ => None,
        }
    }
}

/// Prepares the bundle and executes the pinned program; returns only on failure.
pub fn run(name: ShimName, arguments: &[OsString]) -> Fault {
    let host = RealHost::new(None);
    let prepared = match name {
        ShimName::Crun => crun(arguments, &host),
        ShimName::Conmon => conmon(arguments),
    };
    match prepared {
        Ok(mut command) => {
            let error = command.args(arguments).exec();
            Fault::io("execute", command.get_program(), error)
        }
        Err(fault) => {
            let fault = fault.context("hale's shim");
            refusal::report(&fault.to_string());
            fault
        }
    }
}

fn conmon(arguments: &[OsString]) -> Result<Command> {
    if let Some(bundle) = conmon::bundle(arguments)? {
        Bundle::take(&bundle)?;
    }
    let mut command = Command::new(CONMON);
    command.arg0("conmon");
    Ok(command)
}

fn crun(arguments: &[OsString], host: &dyn Host) -> Result<Command> {
    let mut command = Command::new(CRUN);
    command.arg0("crun");
    match command::crun_request(arguments)? {
        CrunRequest::Create(bundle) => prepare(&bundle, host)?,
        CrunRequest::Update => {
            let text = command::limits()?;
            let edited = edit::resources(&text)?.unwrap_or(text);
            command.stdin(in_memory(&edited)?);
        }
        CrunRequest::Other => {}
    }
    Ok(command)
}

/// Makes a bundle ready for crun: its folder the host root's, its configuration edited, in one rename. Not synced: a
/// bundle does not outlive the machine's uptime.
fn prepare(path: &Path, host: &dyn Host) -> Result<()> {
    let bundle = Bundle::take(path)?;
    let text = bundle.configuration()?;
    let in_bundle = |fault: Fault| fault.context(path.display());
    let container = Container::parse(&text, &bundle.whose()).map_err(in_bundle)?;
    let config = ShimConfig::parse(&files::need(host, ShimConfig::PATH)?)?;
    let mounted = exposure::judge(&container, &config).map_err(in_bundle)?;
    let seccomp = files::need(host, SECCOMP)?;
    let defaults = Defaults {
        seccomp: &seccomp,
        apparmor: &|| apparmor(host, &config.apparmor_profile),
        mounted: &mounted,
        ids: container.ids(&config).map_err(in_bundle)?,
    };
    let edited = edit(&text, &defaults).map_err(in_bundle)?;
    bundle.replace(edited.as_deref().unwrap_or(&text))
}

/// Makes a file without a name, open at its beginning.
fn in_memory(text: &str) -> Result<std::fs::File> {
    let made = rustix::fs::memfd_create("resources", rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = std::fs::File::from(made.map_err(|e| Fault::io("make", "a file in memory", e))?);
    let written = file.write_all(text.as_bytes()).and_then(|()| file.seek(SeekFrom::Start(0)));
    written.map(|_| file).map_err(|e| Fault::io("write", "a file in memory", e))
}

/// Whether the kernel has AppArmor (Linux, Documentation/admin-guide/LSM/apparmor.rst).
const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
/// The profiles that are loaded, each as `name (mode)`.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

/// Returns the profile if it is loaded: CRI-O does that when it starts, on a kernel that has AppArmor.
fn apparmor(host: &dyn Host, profile: &str) -> Result<Option<String>> {
    let enabled = files::read(host, ENABLED)?.is_some_and(|text| text.starts_with('Y'));
    let loaded = if enabled { files::read(host, LOADED)?.unwrap_or_default() } else { String::new() };
    let mut names = loaded.lines().filter_map(|line| line.rsplit_once(" ("));
    Ok(names.any(|(name, _)| name == profile).then(|| profile.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::testing::fake::FakeHost;

    const SHIM: &str = "apparmor-profile = \"crio-default-1.17.4\"\nfirst-id = 10000000\nids = 65536\ncontrol-plane-id = 20000000\n";

    /// A bundle with a configuration, as a folder that only its owner can write to.
    fn made(config: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        folder
    }

    fn host() -> FakeHost {
        let host = FakeHost::new();
        host.make(SECCOMP, r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#);
        host.make(ShimConfig::PATH, SHIM);
        host
    }

    fn need_root() {
        assert!(rustix::process::geteuid().is_root(), "run this test as root: bundles are root's");
    }

    #[test]
    fn a_bundle_is_rewritten_whole_or_not_at_all() {
        need_root();
        let (dir, host) = (made(r#"{"linux":{"resources":{"memory":{"limit":0}}}}"#), FakeHost::new());
        let config = dir.path().join("config.json");
        host.make(ShimConfig::PATH, SHIM);
        assert!(prepare(dir.path(), &host).is_err(), "a container must not run without its profile");
        host.make(SECCOMP, r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#);
        prepare(dir.path(), &host).unwrap();
        let expect = r#"{"linux":{"resources":{"memory":{}},"seccomp":{"defaultAction":"SCMP_ACT_ERRNO"}}}"#;
        assert_eq!(std::fs::read_to_string(&config).unwrap(), expect);
        prepare(dir.path(), &host).unwrap();
        assert_eq!(std::fs::read_to_string(&config).unwrap(), expect);
        std::fs::write(&config, "{").unwrap();
        assert!(prepare(dir.path(), &host).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// By what the kernel says: crun would not start a sandbox under a profile that is not there.
    #[test]
    fn a_sandbox_gets_the_roles_profile_where_the_kernel_has_it() {
        need_root();
        let check = |enabled: &str, loaded: &str, expect: bool| {
            let sandbox = r#"{"process":{},"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ERRNO"},"namespaces":[{"type":"user"}]}}"#;
            let (dir, host) = (made(sandbox), host());
            host.make(ENABLED, enabled);
            host.make(LOADED, loaded);
            prepare(dir.path(), &host).unwrap();
            let with = sandbox
                .replace("\"process\":{}", "\"process\":{\"apparmorProfile\":\"crio-default-1.17.4\"}");
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
            let fault = prepare(dir.path(), &host()).expect_err(what);
            assert_eq!(fault.class(), crate::fault::Class::Integrity, "{what}: {fault}");
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
        prepare(dir.path(), &host()).unwrap();
    }

    #[test]
    fn ids_that_meet_are_refused() {
        ShimConfig::parse(SHIM).unwrap();
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
            assert!(ShimConfig::parse(&SHIM.replacen(from, to, 1)).is_err(), "{from} {to}");
        }
    }
}
