//! An apt of its own: nothing of the machine's is read or changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::tools::{put, run, said, tool};

/// One line of a simulated installation: `Inst` or `Conf`, the package, its version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Action {
    /// What apt would have dpkg do.
    pub verb: String,
    /// The package.
    pub package: String,
    /// The version that it would have.
    pub version: String,
}

/// An apt with a configuration, sources, lists and a dpkg status below one folder.
pub struct Apt {
    root: PathBuf,
}

impl Apt {
    /// An apt of amd64 below `root`, on a machine where dpkg's status is `status`. Recommendations count not.
    pub fn new(root: &Path, status: &str) -> Self {
        for folder in ["etc/apt/apt.conf.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial"] {
            fs::create_dir_all(root.join(folder)).expect("a folder can be made");
        }
        put(root.join("var/lib/dpkg/status"), status);
        put(root.join("apt.conf"), format!("Dir \"{}\";\n", root.display()));
        Self { root: root.to_owned() }
    }

    /// Adds or replaces a file of `etc/apt`: a source, preferences.
    pub fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        put(self.root.join("etc/apt").join(name), text);
    }

    /// Runs `apt-get`.
    pub fn run(&self, words: &[&str]) -> Output {
        let mut apt = tool("apt-get", "apt");
        apt.env("APT_CONFIG", self.root.join("apt.conf"));
        let status = self.root.join("var/lib/dpkg/status");
        for option in [
            format!("Dir::State::status={}", status.display()),
            "Dir::Bin::methods=/usr/lib/apt/methods".into(),
            "Dir::Bin::solvers::=/usr/lib/apt/solvers".into(),
            "APT::Architecture=amd64".into(),
            "APT::Architectures::=amd64".into(),
            "APT::Install-Recommends=false".into(),
            "APT::Sandbox::User=root".into(),
            "Acquire::Languages=none".into(),
            "Debug::NoLocking=1".into(),
        ] {
            apt.arg("-o").arg(option);
        }
        run(apt.args(words))
    }

    /// What `apt-get install --simulate` would do, in its order.
    #[track_caller]
    pub fn simulate(&self, packages: &[&str]) -> Vec<Action> {
        let output = self.run(&[&["install", "--simulate", "--yes"], packages].concat());
        assert!(output.status.success(), "{packages:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).lines().filter_map(action).collect()
    }
}

/// `Inst NAME [OLD] (VERSION ORIGIN [ARCH])`.
fn action(line: &str) -> Option<Action> {
    let (verb, rest) = line.split_once(' ').filter(|(verb, _)| matches!(*verb, "Inst" | "Conf"))?;
    let (before, after) = rest.split_once('(')?;
    let word = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
    Some(Action { verb: verb.to_owned(), package: word(before), version: word(after) })
}
