//! The second name of `hale`: `/usr/lib/hale/crun`, which CRI-O 1.17 calls in place of the pinned crun.
//!
//! CRI-O 1.17 writes `linux.resources.memory.limit: 0` for a container without a limit, which crun 0.14 and
//! later applies as zero bytes; and it leaves seccomp off unless the pod asks. So on `create` and `run` the
//! bundle's `config.json` loses the zero limit, gets the default seccomp profile if it has none, and the
//! pinned crun is executed. Every byte that is not part of those two edits stays as it was.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fault::{Fault, Result};

mod edit;

pub use edit::edit;

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
        && let Err(fault) = rewrite(&bundle, Path::new(SECCOMP))
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
pub fn rewrite(bundle: &Path, profile: &Path) -> Result<()> {
    let path = bundle.join("config.json");
    let text = fs::read_to_string(&path).map_err(|e| Fault::io("read", &path, e))?;
    let profile_text = fs::read_to_string(profile).map_err(|e| Fault::io("read", profile, e))?;
    let edited = edit(&text, &profile_text).map_err(|f| f.within(path.display()))?;
    let Some(edited) = edited else { return Ok(()) };
    let scratch = bundle.join(format!(".config.json.hale.{}", std::process::id()));
    let written = replace(&path, &scratch, edited.as_bytes());
    if written.is_err() {
        let _ = fs::remove_file(&scratch);
    }
    written.map_err(|e| Fault::io("write", &path, e))
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
        let dir = tempfile::tempdir().unwrap();
        let (config, profile) = (dir.path().join("config.json"), dir.path().join("seccomp.json"));
        let write = |path: &Path, text: &str| fs::write(path, text).unwrap();
        write(&config, r#"{"linux":{"resources":{"memory":{"limit":0}}}}"#);
        assert!(rewrite(dir.path(), &profile).is_err(), "a container must not run without its profile");
        write(&profile, r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#);
        rewrite(dir.path(), &profile).unwrap();
        let expect = r#"{"linux":{"resources":{"memory":{}},"seccomp":{"defaultAction":"SCMP_ACT_ERRNO"}}}"#;
        assert_eq!(fs::read_to_string(&config).unwrap(), expect);
        rewrite(dir.path(), &profile).unwrap();
        assert_eq!(fs::read_to_string(&config).unwrap(), expect);
        write(&config, "{");
        assert!(rewrite(dir.path(), &profile).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
