//! Commands: how a program is run, to its end or its time limit, and the log of its output, one file a program:
//! `/var/lib/hale/log/kubeadm.log`.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::config::Secret;
use crate::fault::{Fault, Result};

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Path of the program.
    pub program: PathBuf,
    /// Arguments, without the program.
    pub arguments: Vec<String>,
    /// Time limit: after it the program is killed, with its children.
    pub limit: Duration,
    /// Whether its output holds a secret and is not kept in a log.
    pub secret: bool,
    /// What it reads from its standard input, at most some kilobytes.
    pub input: Option<Secret>,
}

impl Command {
    /// Makes a command with a time limit of one minute.
    pub fn new(program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self {
            program: program.into(),
            arguments,
            limit: Duration::from_secs(60),
            secret: false,
            input: None,
        }
    }

    /// Sets the time limit, in minutes.
    pub fn minutes(mut self, minutes: u64) -> Self {
        self.limit = Duration::from_secs(60 * minutes);
        self
    }

    /// Keeps the output out of the log.
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Gives it something to read.
    pub fn input(mut self, input: Secret) -> Self {
        self.input = Some(input);
        self
    }

    /// Returns the program's name without its directory.
    pub fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Returns the command line, for logs and messages.
    pub fn line(&self) -> String {
        format!("{} {}", self.program.display(), self.arguments.join(" "))
    }
}

/// What became of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandOutput {
    /// Exit code; `None` if a signal or the time limit ended it.
    pub code: Option<i32>,
    /// Standard output, cut at [`OUTPUT_LIMIT`].
    pub stdout: String,
    /// Standard error, cut likewise.
    pub stderr: String,
}

impl CommandOutput {
    /// Returns whether the exit code is 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Returns the last line of standard error that is not empty: for most programs the reason why they failed.
    pub fn reason(&self) -> &str {
        self.stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing")
    }
}

/// Maximum size of an output that is kept, in bytes.
pub const OUTPUT_LIMIT: u64 = 1 << 20;

/// Runs a command to its end or its time limit, in a clean environment.
pub(super) fn run(command: &Command) -> Result<CommandOutput> {
    let child = process::Command::new(&command.program)
        .args(&command.arguments)
        .env_clear()
        .envs([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/root"), ("LC_ALL", "C.UTF-8")])
        .stdin(if command.input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir("/")
        .process_group(0)
        .spawn();
    let mut child = child.map_err(|e| Fault::io("run", &command.program, e))?;
    if let (Some(input), Some(mut pipe)) = (&command.input, child.stdin.take()) {
        // What does not read it says by its exit code why.
        let _ = pipe.write_all(input.expose().as_bytes());
    }
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let status = wait(&mut child, command.limit).map_err(|e| Fault::io("wait for", &command.program, e))?;
    let text = |thread: std::thread::JoinHandle<String>| thread.join().unwrap_or_default();
    Ok(CommandOutput { code: status.and_then(|s| s.code()), stdout: text(stdout), stderr: text(stderr) })
}

/// Reads a pipe to its end, so that its writer never blocks, and keeps the beginning.
fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let Some(mut pipe) = pipe else { return String::new() };
        let mut kept = Vec::new();
        let _ = pipe.by_ref().take(OUTPUT_LIMIT).read_to_end(&mut kept);
        let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        String::from_utf8_lossy(&kept).into_owned()
    })
}

/// Waits for a child; after `limit` kills its whole process group and returns `None`.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    let mut step = Duration::from_millis(2);
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(step);
        step = (step * 2).min(Duration::from_millis(200));
    }
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    child.wait().map(|_| None)
}

/// Size from which a log is begun anew, in bytes; one old log is kept.
const LOG_LIMIT: u64 = 4 << 20;

/// Appends a command and its output to its log.
pub(super) fn append_log(
    directory: &Path,
    command: &Command,
    output: &CommandOutput,
    took: Duration,
) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let path = directory.join(format!("{}.log", command.name()));
    if path.metadata().is_ok_and(|metadata| metadata.len() > LOG_LIMIT) {
        std::fs::rename(&path, directory.join(format!("{}.log.1", command.name())))?;
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let said = if command.secret {
        "(kept out of the log)\n"
    } else {
        &format!("{}{}", output.stdout, output.stderr)
    };
    let code = output.code.map_or("killed".to_owned(), |code| format!("exit {code}"));
    write!(file, "$ {}\n{said}= {code} after {:.1} s\n", command.line(), took.as_secs_f64())
}
