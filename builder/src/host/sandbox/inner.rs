//! The inner helper: pid 1 of the sandbox. Mounts, pivots, gives up capabilities, runs the programs.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{self, MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, UnshareFlags};

use super::protocol::{
    Answer, Bind, Facility, HOSTNAME, Job, Refusal, Run, RunFailure, Special, refuse, reply, unshare,
};

/// What a maintainer script may need as root of its own ids: changing owners, modes and users.
/// Without SYS_ADMIN it cannot mount, so it cannot undo what is masked below.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SYS_CHROOT);

/// The kernel's own settings, which a root of the outside could change by mode alone.
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// How many user namespaces there may be below this one (namespaces(7)).
const NAMESPACES: &str = "proc/sys/user/max_user_namespaces";

const NO_DEVICES: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

const DEVICES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];

pub(super) fn run() -> ExitCode {
    let answer = work().unwrap_or_else(|Refusal(part, error)| Answer::Refused { part, error });
    reply(&answer)
}

fn work() -> Result<Answer, Refusal> {
    let death = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    death.map_err(refuse(Facility::Namespaces, "prctl"))?;
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).map_err(refuse(Facility::Files, "reading the job"))?;
    let job: Job = serde_json::from_slice(&text).map_err(refuse(Facility::Files, "reading the job"))?;
    std::env::set_current_dir(&job.work).map_err(refuse(Facility::Files, "entering the work folder"))?;
    let log = OpenOptions::new().create(true).append(true).open("log");
    let log = log.map_err(refuse(Facility::Files, "opening the log"))?;
    rustix::process::setsid().map_err(refuse(Facility::Namespaces, "setsid"))?;
    rustix::system::sethostname(HOSTNAME.as_bytes()).map_err(refuse(Facility::Namespaces, "sethostname"))?;
    overlay(&job.specials)?;
    mounts(&job.binds)?;
    pivot()?;
    restrain()?;
    for run in &job.runs {
        if let Err(how) = run_one(run, &log) {
            return Ok(Answer::Failed { what: run.what.clone(), how });
        }
    }
    Ok(Answer::Done(Vec::new()))
}

/// The root tree, with the owners that it is to have.
fn overlay(specials: &[Special]) -> Result<(), Refusal> {
    unshare(UnshareFlags::NEWNS).map_err(refuse(Facility::Namespaces, "unshare"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount::mount_change("/", private).map_err(refuse(Facility::Mounts, "making / private"))?;
    // volatile: nothing here outlives the job, so dpkg's many fsyncs need not reach the disk.
    let options = c"lowerdir=lower,upperdir=upper,workdir=overlay,userxattr,volatile";
    mount::mount("overlay", "mount", "overlay", NO_DEVICES, options)
        .map_err(refuse(Facility::Overlay, "mounting it"))?;
    specials.iter().try_for_each(|special| set(special).map_err(refuse(Facility::Ids, &special.path)))
}

fn mounts(binds: &[Bind]) -> Result<(), Refusal> {
    let no_programs = NO_DEVICES | MountFlags::NOEXEC;
    mount::mount("proc", "mount/proc", "proc", no_programs, None)
        .map_err(refuse(Facility::Proc, "mounting it"))?;
    no_namespaces().map_err(refuse(Facility::Proc, NAMESPACES))?;
    for name in READ_ONLY {
        mask(&format!("mount/proc/{name}"), no_programs)?;
    }
    for (target, options) in
        [("dev", c"mode=755,size=1m"), ("run", c"mode=755,size=25%"), ("tmp", c"mode=1777,size=25%")]
    {
        // /dev holds bound devices, so it alone lets devices work.
        let flags = if target == "dev" { MountFlags::NOSUID | MountFlags::NOEXEC } else { NO_DEVICES };
        mount::mount("tmpfs", format!("mount/{target}"), "tmpfs", flags, options)
            .map_err(refuse(Facility::Mounts, target))?;
    }
    devices().map_err(refuse(Facility::Devices, "binding"))?;
    binds.iter().try_for_each(bind)
}

/// Nobody becomes root of a namespace of their own here, with every capability in it; before the setting is masked.
fn no_namespaces() -> std::io::Result<()> {
    match fs::write(Path::new("mount").join(NAMESPACES), "0") {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        written => written,
    }
}

/// Owner first: changing it clears set-id bits and capabilities.
fn set(special: &Special) -> std::io::Result<()> {
    let path = Path::new("mount").join(&special.path);
    lchown(&path, Some(special.uid), Some(special.gid))?;
    if let Some(mode) = special.mode {
        fs::set_permissions(&path, Permissions::from_mode(u32::from(mode)))?;
    }
    for (name, value) in &special.xattrs {
        rustix::fs::lsetxattr(&path, name.as_str(), value, rustix::fs::XattrFlags::empty())?;
    }
    Ok(())
}

/// Makes a part of /proc read-only; one that this kernel does not have needs no mask.
fn mask(path: &str, flags: MountFlags) -> Result<(), Refusal> {
    if !Path::new(path).exists() {
        return Ok(());
    }
    mount::mount_bind(path, path).map_err(refuse(Facility::Proc, path))?;
    let flags = flags | MountFlags::BIND | MountFlags::RDONLY;
    mount::mount_remount(path, flags, c"").map_err(refuse(Facility::Proc, path))
}

fn devices() -> std::io::Result<()> {
    for name in DEVICES {
        let target = format!("mount/dev/{name}");
        File::create(&target)?;
        mount::mount_bind(format!("/dev/{name}"), &target)?;
    }
    fs::create_dir("mount/dev/shm")?;
    for (name, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        symlink(target, format!("mount/dev/{name}"))?;
    }
    Ok(())
}

fn bind(bind: &Bind) -> Result<(), Refusal> {
    let target = Path::new("mount").join(bind.to.strip_prefix("/").unwrap_or(&bind.to));
    let made = if bind.from.is_dir() {
        fs::create_dir_all(&target)
    } else {
        let parent = target.parent().map_or(Ok(()), fs::create_dir_all);
        parent.and_then(|()| File::create(&target).map(drop))
    };
    made.map_err(refuse(Facility::Files, "making a mount point"))?;
    mount::mount_bind(&bind.from, &target).map_err(refuse(Facility::Mounts, "binding"))?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount::mount_remount(&target, flags, c"").map_err(refuse(Facility::Mounts, "binding read-only"))
}

/// The overlay becomes the root; the outside's mounts are gone from this namespace.
fn pivot() -> Result<(), Refusal> {
    std::env::set_current_dir("mount").map_err(refuse(Facility::Pivot, "entering it"))?;
    rustix::process::pivot_root(".", ".").map_err(refuse(Facility::Pivot, "pivot_root"))?;
    mount::unmount(".", UnmountFlags::DETACH).map_err(refuse(Facility::Pivot, "leaving the old root"))?;
    std::env::set_current_dir("/").map_err(refuse(Facility::Pivot, "entering the new root"))
}

fn restrain() -> Result<(), Refusal> {
    for capability in CapabilitySet::all().difference(KEPT).iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // INVAL: newer than this kernel, so nobody has it.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(Refusal(Facility::Capabilities, error.to_string())),
        }
    }
    rustix::thread::set_no_new_privs(true).map_err(refuse(Facility::Capabilities, "no_new_privs"))?;
    // Programs that close every descriptor take long where the limit is high.
    for (resource, limit) in [(Resource::Nofile, 1024), (Resource::Core, 0)] {
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        rustix::process::setrlimit(resource, limit).map_err(refuse(Facility::Capabilities, "setrlimit"))?;
    }
    Ok(())
}

fn run_one(run: &Run, log: &File) -> Result<(), RunFailure> {
    let lost_before = packets_without_route();
    let said = |file: &File| file.try_clone().map(Stdio::from).map_err(|e| RunFailure::Start(e.to_string()));
    let (program, arguments) =
        run.command.split_first().ok_or_else(|| RunFailure::Start("no program".to_owned()))?;
    let environment = run.environment.iter().map(|(name, value)| (name, value));
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment);
    command.stdin(Stdio::null()).stdout(said(log)?).stderr(said(log)?);
    let mut child = command.spawn().map_err(|e| RunFailure::Start(format!("{program}: {e}")))?;
    let status = wait(&mut child, run.limit)?;
    let lost = packets_without_route() - lost_before;
    match status {
        _ if lost > 0 => Err(RunFailure::Network(lost)),
        status if status.success() => Ok(()),
        status => Err(RunFailure::Exit(status.to_string())),
    }
}

/// Waits for the child. Orphans that come to us stay unreaped: they end with this namespace.
fn wait(child: &mut Child, limit: u64) -> Result<ExitStatus, RunFailure> {
    let failed = |error: &dyn std::fmt::Display| RunFailure::Start(error.to_string());
    let pid = Pid::from_child(child);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|e| failed(&e))?;
    let time = Timespec { tv_sec: i64::try_from(limit).unwrap_or(i64::MAX), tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&time)).map_err(|e| failed(&e))?;
    if ended == 0 {
        return Err(RunFailure::Limit(limit, running_script()));
    }
    child.wait().map_err(|e| failed(&e))
}

/// The maintainer script that runs now, as `postinst of crun`: the one that was started last.
fn running_script() -> Option<String> {
    let mut pids: Vec<u32> =
        fs::read_dir("/proc").ok()?.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable_by(|a, b| b.cmp(a));
    pids.into_iter().find_map(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        line.split(|byte| *byte == 0).find_map(|word| script_name(std::str::from_utf8(word).ok()?))
    })
}

/// `/var/lib/dpkg/info/crun.postinst` -> `postinst of crun` (deb-postinst(5)).
fn script_name(path: &str) -> Option<String> {
    let (package, script) = path.strip_prefix("/var/lib/dpkg/info/")?.rsplit_once('.')?;
    let scripts = ["preinst", "postinst", "prerm", "postrm", "config"];
    scripts.contains(&script).then(|| format!("{script} of {package}"))
}

/// Packets that found no way out since this network namespace began (RFC 4293, ipSystemStatsOutNoRoutes).
fn packets_without_route() -> u64 {
    let four = fs::read_to_string("/proc/self/net/snmp").unwrap_or_default();
    let six = fs::read_to_string("/proc/self/net/snmp6").unwrap_or_default();
    out_no_routes(&four) + out_no_routes6(&six)
}

fn out_no_routes(snmp: &str) -> u64 {
    let mut lines = snmp.lines().filter(|line| line.starts_with("Ip:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    let index = names.split_whitespace().position(|name| name == "OutNoRoutes");
    index.and_then(|index| values.split_whitespace().nth(index)?.parse().ok()).unwrap_or(0)
}

fn out_no_routes6(snmp6: &str) -> u64 {
    let line = snmp6.lines().find_map(|line| line.strip_prefix("Ip6OutNoRoutes"));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_tables() {
        let snmp = "Ip: Forwarding DefaultTTL OutNoRoutes\nIp: 1 64 7\nIcmp: InMsgs\nIcmp: 0\n";
        assert_eq!((out_no_routes(snmp), out_no_routes("")), (7, 0));
        assert_eq!(out_no_routes6("Ip6InReceives   3\nIp6OutNoRoutes                  \t2\n"), 2);
    }

    #[test]
    fn scripts_are_named() {
        for (path, expect) in [
            ("/var/lib/dpkg/info/crun.postinst", Some("postinst of crun")),
            ("/var/lib/dpkg/info/libc6:amd64.preinst", Some("preinst of libc6:amd64")),
            ("/var/lib/dpkg/info/crun.list", None),
            ("/bin/sh", None),
        ] {
            assert_eq!(script_name(path).as_deref(), expect, "{path}");
        }
    }
}
