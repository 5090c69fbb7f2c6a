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

use crate::fault::{Class, Fault, Result};
use crate::files;
use crate::world::{Real, World};

use bundle::Bundle;
use command::Asked;
use container::Container;
mod bundle;
mod command;
mod conmon;
mod container;
mod edit;
mod exposure;
mod mounts;
pub mod refusal;
mod settings;
mod walk;

pub(crate) use bundle::THEIRS;
pub(crate) use container::BUNDLES;
pub use container::Ids;
#[cfg(any(test, fuzzing))]
pub(crate) use edit::others;
pub use edit::{Defaults, edit};
pub use exposure::Mounted;
pub use settings::{Settings, check_ids};

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
pub enum Name {
    /// Makes a container.
    Crun,
    /// Starts crun and looks after the container.
    Conmon,
}

impl Name {
    /// The name that a path ends in.
    pub fn of(program: &Path) -> Option<Self> {
        match program.file_name()?.to_str()? {
            "crun" => Some(Self::Crun),
            "conmon" => Some(Self::Conmon),
            _ => None,
        }
    }
}

/// Does what there is to do and executes the pinned program; returns only if something failed.
pub fn run(name: Name, arguments: &[OsString]) -> Fault {
    let world = Real::new(None);
    let prepared = match name {
        Name::Crun => crun(arguments, &world),
        Name::Conmon => conmon(arguments),
    };
    match prepared {
        Ok(mut command) => {
            let error = command.args(arguments).exec();
            Fault::io("execute", command.get_program(), error)
        }
        Err(fault) => {
            let fault = fault.within("hale's shim");
            refusal::tell(&fault.to_string());
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

fn crun(arguments: &[OsString], world: &dyn World) -> Result<Command> {
    let mut command = Command::new(CRUN);
    command.arg0("crun");
    match command::asked(arguments)? {
        Asked::Container(bundle) => prepare(&bundle, world)?,
        Asked::Update => {
            let text = command::limits()?;
            let edited = edit::resources(&text)?.unwrap_or(text);
            command.stdin(in_memory(&edited)?);
        }
        Asked::Nothing => {}
    }
    Ok(command)
}

/// Makes a bundle ready for crun: its folder the host root's, its configuration edited, in one rename. Not synced: a
/// bundle does not outlive the machine's uptime.
fn prepare(path: &Path, world: &dyn World) -> Result<()> {
    let bundle = Bundle::take(path)?;
    let text = bundle.configuration()?;
    let within = |fault: Fault| fault.within(path.display());
    let container = Container::parse(&text, &bundle.whose()).map_err(within)?;
    let settings = Settings::parse(&files::need(world, Settings::PATH)?)?;
    let mounted = exposure::judge(&container, &settings).map_err(within)?;
    let seccomp = files::need(world, SECCOMP)?;
    let defaults = Defaults {
        seccomp: &seccomp,
        apparmor: &|| apparmor(world, &settings.apparmor_profile),
        mounted: &mounted,
        ids: container.ids(&settings).map_err(within)?,
    };
    let edited = edit(&text, &defaults).map_err(within)?;
    bundle.replace(edited.as_deref().unwrap_or(&text))
}

/// A file that has no name, from its beginning.
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

/// The profile, if it is loaded: CRI-O does that when it starts, on a kernel that has AppArmor.
fn apparmor(world: &dyn World, profile: &str) -> Result<Option<String>> {
    let enabled = files::read(world, ENABLED)?.is_some_and(|text| text.starts_with('Y'));
    let loaded = if enabled { files::read(world, LOADED)?.unwrap_or_default() } else { String::new() };
    let mut names = loaded.lines().filter_map(|line| line.rsplit_once(" ("));
    Ok(names.any(|(name, _)| name == profile).then(|| profile.to_owned()))
}

/// A refusal: something is not as CRI-O and crun leave it, so somebody else had a hand in it, or does not fit them.
fn refused(what: impl Into<String>) -> Fault {
    Fault::new(Class::Integrity, what)
}

#[cfg(test)]
mod tests;
