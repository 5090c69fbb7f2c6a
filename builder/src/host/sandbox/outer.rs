//! The outer helper: enters the namespaces, lets the inner one run, then lists and hands over.

use std::io::{Read, Write};
use std::process::{Command, ExitCode, Stdio};

use rustix::io::Errno;
use rustix::process::Signal;
use rustix::thread::UnshareFlags;

use super::changes;
use super::protocol::{Answer, Facility, INNER, Job, READY, Refusal, VERB, refuse, reply, unshare};

pub(super) fn run() -> ExitCode {
    let answer = converse().unwrap_or_else(|Refusal(part, error)| Answer::Refused { part, error });
    reply(&answer)
}

/// Gives up what the caller may have left us besides its rights: a descriptor of a folder is a way to the host's
/// files, and the keys of its session can be read by whoever has the keyring (session-keyring(7)).
fn let_go() -> Result<(), Refusal> {
    close_fds::set_fds_cloexec(3, &[]);
    match keyutils::Keyring::join_anonymous_session() {
        // Of a kernel without keys, or of a container's filter, which keeps them from all that we start.
        Err(error) if [Errno::NOSYS, Errno::PERM].map(Errno::raw_os_error).contains(&error.0) => Ok(()),
        joined => joined.map(drop).map_err(refuse(Facility::Namespaces, "keyctl")),
    }
}

fn converse() -> Result<Answer, Refusal> {
    let_go()?;
    unshare(UnshareFlags::NEWUSER).map_err(refuse(Facility::User, "unshare"))?;
    println!("{READY}");
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).map_err(refuse(Facility::Files, "reading the job"))?;
    let job: Job = serde_json::from_slice(&text).map_err(refuse(Facility::Files, "reading the job"))?;
    become_root()?;
    // Whoever started us may be killed; nothing of ours outlives it.
    let death = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    death.map_err(refuse(Facility::Namespaces, "prctl"))?;
    let answer = if job.runs.is_empty() { Answer::Done(Vec::new()) } else { inner(&text)? };
    let changes = changes::hand_over(&job.work).map_err(refuse(Facility::Files, "listing the changes"))?;
    Ok(if let Answer::Done(_) = answer { Answer::Done(changes) } else { answer })
}

fn become_root() -> Result<(), Refusal> {
    let (uid, gid) = (rustix::process::Uid::ROOT, rustix::process::Gid::ROOT);
    rustix::thread::set_thread_groups(&[]).map_err(refuse(Facility::Ids, "setgroups"))?;
    rustix::thread::set_thread_gid(gid).map_err(refuse(Facility::Ids, "setgid"))?;
    rustix::thread::set_thread_uid(uid).map_err(refuse(Facility::Ids, "setuid"))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    Ok(())
}

/// Runs the inner helper in the other namespaces. When it has ended, no process is left in its pid
/// namespace, so nothing can change what is listed afterwards.
fn inner(job: &[u8]) -> Result<Answer, Refusal> {
    let spaces = UnshareFlags::NEWPID | UnshareFlags::NEWNET | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
    unshare(spaces).map_err(refuse(Facility::Namespaces, "unshare"))?;
    let mut command = Command::new("/proc/self/exe");
    command.args([VERB, INNER]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(refuse(Facility::Namespaces, "starting pid 1"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(job).map_err(refuse(Facility::Namespaces, "handing on the job"))?;
    }
    let output = child.wait_with_output().map_err(refuse(Facility::Namespaces, "waiting for pid 1"))?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        Refusal(Facility::Namespaces, format!("pid 1 ended without an answer ({})", output.status))
    })
}
