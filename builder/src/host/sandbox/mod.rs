//! Runs programs of a root tree apart from this machine: in user, mount, pid, net, uts and ipc
//! namespaces of their own, without a network, with few capabilities and a time limit each.
//!
//! Three processes, because a user namespace wants a single-threaded process to enter it and a pid
//! namespace begins with a child:
//!
//! ```text
//! this process   writes the id maps (it, or newuidmap, has the right to), waits, reads the answer
//!   outer        enters the namespaces; afterwards lists what changed and hands its ownership back
//!     inner      pid 1 inside: mounts, pivots, gives up capabilities, runs the programs in order
//! ```
//!
//! Both helpers are this very program, called again with [`VERB`]. They work in one folder:
//!
//! ```text
//! work/lower     the root tree, or a link to it; only ever read
//! work/upper     what the programs changed (overlayfs)
//! work/overlay   overlayfs's own
//! work/mount     where the two meet
//! work/log       what the programs said
//! ```
//!
//! Root inside is the user outside; the other ids inside are that user's subordinate ids. There is no
//! fallback: when the kernel refuses a part, the fault says which and what would grant it.

mod changes;
mod ids;
mod inner;
mod outer;
mod protocol;

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use crate::base::{Fault, Result};

pub use changes::{FileChange, Now, Owner};
use ids::IdMaps;
use protocol::{Answer, Facility, INNER, OUTER, READY, RunFailure};
pub use protocol::{Bind, Job, Run, Special, VERB};

/// How many of the last lines a failing program said are shown.
const SHOWN_LINES: usize = 20;

/// How to start a sandbox's helpers.
#[derive(Clone, Debug)]
pub struct Sandbox {
    program: PathBuf,
}

impl Sandbox {
    /// Helpers are `program`, which must call [`helper`] when its first argument is [`VERB`].
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into() }
    }

    /// Helpers are the running program.
    pub fn of_this_program() -> Result<Self> {
        let program = std::env::current_exe();
        program.map(Self::new).map_err(|e| Fault::machine("cannot find the running program").cause(e))
    }

    /// Removes a work folder whose files may have owners that this user cannot act for.
    pub fn remove(&self, work: &Path) -> Result<()> {
        // Root needs no help, and meets owners that no map of ours has.
        if std::fs::remove_dir_all(work).is_ok() {
            return Ok(());
        }
        let job = Job {
            work: work.to_owned(),
            // Whichever id the killed job had beyond Debian's: its files have it as this one.
            owner: Some(ids::COUNT),
            specials: Vec::new(),
            binds: Vec::new(),
            runs: Vec::new(),
        };
        self.run(&job)?;
        std::fs::remove_dir_all(work).map_err(|e| Fault::io("remove", work, e))
    }

    /// Runs the job and lists what it changed. Everything in `work/upper` then belongs to this user and
    /// can be read; no process that could still write there is left.
    pub fn run(&self, job: &Job) -> Result<Vec<FileChange>> {
        let maps = IdMaps::of_this_user()?;
        for name in ["upper", "overlay", "mount"] {
            let path = job.work.join(name);
            std::fs::create_dir_all(&path).map_err(|e| Fault::io("make", &path, e))?;
        }
        let mut outer = Outer::start(&self.program)?;
        match outer.converse(&maps, job)? {
            Answer::Done(changes) => Ok(changes),
            Answer::Refused { part, error } => Err(refused(part, &error)),
            Answer::Failed { what, how } => Err(failed(&what, &how, &job.work)),
        }
    }
}

/// The outer helper's process; killed when dropped.
struct Outer {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Outer {
    fn start(program: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.args([VERB, OUTER]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let started = command.env_clear().spawn();
        let mut child = started.map_err(|e| Fault::io("start", program, e))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => {
                Ok(Self { child, stdin: Some(stdin), stdout: BufReader::new(stdout) })
            }
            _ => Err(Fault::bug("a helper without pipes")),
        }
    }

    /// The conversation: it says that it is in its user namespace, we map its ids, hand it the job and
    /// wait for the answer.
    fn converse(&mut self, maps: &IdMaps, job: &Job) -> Result<Answer> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).map_err(|e| self.broken(&e))?;
        if line.trim_end() != READY {
            return serde_json::from_str(&line).map_err(|e| self.broken(&e));
        }
        if let Err(error) = maps.write(self.child.id(), job.owner) {
            return Ok(Answer::Refused { part: Facility::Ids, error });
        }
        let text = serde_json::to_vec(job).map_err(|e| Fault::bug("a job has no JSON form").cause(e))?;
        if let Some(mut stdin) = self.stdin.take() {
            stdin.write_all(&text).map_err(|e| self.broken(&e))?;
        }
        let mut answer = Vec::new();
        self.stdout.read_to_end(&mut answer).map_err(|e| self.broken(&e))?;
        serde_json::from_slice(&answer).map_err(|e| self.broken(&e))
    }

    fn broken(&mut self, error: &dyn std::fmt::Display) -> Fault {
        let end = match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        Fault::machine("the sandbox's helper broke off").cause(end).cause(error)
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the sandbox's helper in a program whose first argument is [`VERB`], before it starts any thread.
pub fn helper(role: Option<OsString>) -> ExitCode {
    match role.as_ref().and_then(|role| role.to_str()) {
        Some(OUTER) => outer::run(),
        Some(INNER) => inner::run(),
        _ => {
            eprintln!("{VERB} is for this program's own use");
            ExitCode::from(2)
        }
    }
}

fn refused(part: Facility, error: &str) -> Fault {
    Fault::machine(format!("the sandbox was refused {}", part.name())).cause(error).help(part.help())
}

/// A program that failed; on a full disk that is no fault of the program's.
fn failed(what: &str, how: &RunFailure, work: &Path) -> Fault {
    let how = match how {
        RunFailure::Start(error) => format!("did not start ({error})"),
        RunFailure::Exit(end) => format!("failed ({end})"),
        RunFailure::Limit(seconds, None) => format!("ran longer than its {seconds} s and was killed"),
        RunFailure::Limit(seconds, Some(script)) => {
            format!("ran longer than its {seconds} s and was killed in {script}")
        }
        RunFailure::Network(packets) => {
            format!("tried to use the network ({packets} packets), which no build step may")
        }
    };
    let fault = match is_full(work) {
        true => Fault::machine(format!("{what} {how}, and the disk is full")).help("free some space"),
        false => Fault::user(format!("{what} {how}")),
    };
    fault.cause(format!("its last lines:\n{}", last_lines(&work.join("log"))))
}

/// Whether a folder's file system has no room for another MiB.
fn is_full(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|disk| disk.f_bavail * disk.f_frsize < 1 << 20)
}

/// The end of the log, at most 64 KiB and [`SHOWN_LINES`] lines of it.
fn last_lines(log: &Path) -> String {
    let mut bytes = Vec::new();
    let tail = File::open(log).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(1 << 16)))?;
        file.read_to_end(&mut bytes)
    });
    if let Err(error) = tail {
        return format!("(no log: {error})");
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_the_part_and_the_mend() {
        let fault = refused(Facility::User, "Operation not permitted");
        assert_eq!(fault.exit_code(), 5);
        let text = fault.to_string();
        assert!(text.contains("a user namespace") && text.contains("user.max_user_namespaces"), "{text}");
    }

    #[test]
    fn a_failure_shows_the_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let lines: Vec<String> = (0..50).map(|n| format!("line {n}")).collect();
        std::fs::write(&log, lines.join("\n")).unwrap();
        let how = RunFailure::Limit(5, Some("postinst of crun".to_owned()));
        let text = failed("configuring", &how, folder.path()).to_string();
        assert!(text.contains("5 s and was killed in postinst of crun"), "{text}");
        assert!(
            text.contains("line 30\n") && text.contains("line 49") && !text.contains("line 29"),
            "{text}"
        );
    }
}
