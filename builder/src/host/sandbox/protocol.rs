//! What this process and its two helpers say to each other.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use super::changes::FileChange;

/// The hidden argument that makes a program that links this library a helper of the sandbox.
pub const VERB: &str = "__sandbox";

/// The host name inside.
pub(super) const HOSTNAME: &str = "hale";

/// The outer helper's argument after [`VERB`].
pub(super) const OUTER: &str = "outer";

/// The inner helper's argument after [`VERB`].
pub(super) const INNER: &str = "inner";

/// What the outer helper says when its ids may be mapped.
pub(super) const READY: &str = "ready";

/// One program to run inside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// What it is for, in the words of a failure: `configuring the packages`.
    pub what: String,
    /// The program and its arguments, by paths of the root tree.
    pub command: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
    /// Seconds after which it is killed.
    pub limit: u64,
}

/// A host's folder or file that is seen inside, read-only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bind {
    /// The absolute path outside.
    pub from: PathBuf,
    /// The absolute path inside, below `/run`, which is empty otherwise.
    pub to: PathBuf,
}

/// An owner, mode or attribute of the root tree that only the sandbox's root may set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Special {
    /// The path, relative to the root tree.
    pub path: String,
    /// Owner inside.
    pub uid: u32,
    /// Group inside.
    pub gid: u32,
    /// Permission bits; `None` for a symbolic link, which has none.
    pub mode: Option<u16>,
    /// Extended attributes by name.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

/// What to run, and where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The work folder; `lower` must be there.
    pub work: PathBuf,
    /// A user and group that exists inside besides the ids 0 to 65535.
    pub owner: Option<u32>,
    /// Set before anything runs, in the upper folder: the lower one belongs to the user outside alone, who
    /// may so keep it.
    pub specials: Vec<Special>,
    /// What else is seen inside.
    pub binds: Vec<Bind>,
    /// The programs, in order; the first failure ends the job.
    pub runs: Vec<Run>,
}

/// How the helpers answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// All programs succeeded.
    Done(Vec<FileChange>),
    /// The kernel or the file system refused a part of the sandbox itself.
    Refused {
        /// The part: `a user namespace`.
        part: Facility,
        /// The operating system's words.
        error: String,
    },
    /// A program failed.
    Failed {
        /// [`Run::what`].
        what: String,
        /// How it failed.
        how: RunFailure,
    },
}

/// How a program inside failed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RunFailure {
    /// It could not be started.
    Start(String),
    /// It ended with a code or by a signal, in words.
    Exit(String),
    /// It was killed at its time limit; what was running then, if a maintainer script.
    Limit(u64, Option<String>),
    /// It, or what it started, sent this many packets that had no way out.
    Network(u64),
}

/// The parts of a sandbox that a kernel can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Facility {
    User,
    Namespaces,
    Ids,
    Overlay,
    Proc,
    Devices,
    Mounts,
    Pivot,
    Capabilities,
    Files,
}

impl Facility {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::User => "a user namespace",
            Self::Namespaces => "mount, pid, net, uts and ipc namespaces",
            Self::Ids => "the user and group ids of the root tree",
            Self::Overlay => "an overlay of the root tree",
            Self::Proc => "a /proc of its own",
            Self::Devices => "the devices null, zero, full, random, urandom and tty",
            Self::Mounts => "mounts of its own",
            Self::Pivot => "a root of its own",
            Self::Capabilities => "giving up capabilities",
            Self::Files => "the work folder",
        }
    }

    pub(super) fn help(self) -> &'static str {
        match self {
            Self::User | Self::Namespaces => {
                "allow user namespaces: as root, `sysctl -w user.max_user_namespaces=10000`, and where they \
                 exist `kernel.unprivileged_userns_clone=1`, `kernel.apparmor_restrict_unprivileged_userns=0`; \
                 in a container, start it with a seccomp profile that allows unshare and mount"
            }
            Self::Ids => {
                "as root, `apt-get install uidmap` and `usermod --add-subuids 100000-165535 --add-subgids \
                 100000-165535 USER`"
            }
            Self::Overlay => {
                "needs Linux 5.11 or later with overlayfs (`modprobe overlay` as root), and the store on a \
                 file system with extended attributes that is no overlay itself, such as ext4, xfs or btrfs \
                 (`--store DIR`)"
            }
            Self::Proc => {
                "in a container, start it with an unmasked /proc (podman: `--security-opt unmask=ALL`)"
            }
            Self::Devices | Self::Mounts | Self::Pivot | Self::Capabilities => {
                "in a container, start it with a security profile that allows mount and pivot_root"
            }
            Self::Files => "see that the store's disk has room and is writable",
        }
    }
}

/// A part of the sandbox that did not come about, and why.
pub(super) struct Refusal(pub(super) Facility, pub(super) String);

/// Turns an operating system error into a refusal of `part`; `what` says which step it was.
pub(super) fn refuse<E: std::fmt::Display>(part: Facility, what: &str) -> impl FnOnce(E) -> Refusal {
    move |error| Refusal(part, format!("{what}: {error}"))
}

/// Writes the answer, the last thing a helper does.
pub(super) fn reply(answer: &Answer) -> ExitCode {
    let text = serde_json::to_vec(answer).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    match out.write_all(&text).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[expect(deprecated, reason = "the name that is safe to call; the flags that could do harm are not used")]
pub(super) fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    rustix::thread::unshare(flags)
}
