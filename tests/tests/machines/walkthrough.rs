//! The README's way from nothing to two machines, command by command.
//!
//! What needs no machine runs every time, on programs that only look like the real ones. The whole way is gone, as it
//! stands there, where the components were handed over (`cluster`); else it says loudly that it was not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use builder::base::Result;
use builder::base::tree::Contents;
use builder::lock::LockedOrigin;
use libtest_mimic::Trial;
use macro_rules_attribute::apply;
use node::config::node::NodeConfig;
use node::config::role::RoleConfig;
use tests::checkout;
use tests::cli::{TestCheckout, program};
use tests::runner::File;
use tests::system::TestSystem;
use tests::tools::{bound, put, run, said, succeed, tool};
use tests::trial;

const LINE: &str = "1.20";
/// How long a machine may take, under emulation too.
const LIMIT: Duration = Duration::from_secs(45 * 60);

/// What the runner must know of this file.
pub(crate) const FILE: File = File { name: "walkthrough", at_once: Some(1), found: whole_way };

fn whole_way() -> Vec<Trial> {
    let whole = Way::at_hand();
    if let Err(why) = &whole {
        let why: String = why.to_string().chars().take(300).collect();
        eprintln!("\nTHE WAY OF THE README WAS NOT GONE TO ITS END: {why}\n");
    }
    let missing = whole.is_err();
    let it_leads_to_two_machines = move || {
        whole.unwrap_or_else(|fault| panic!("{fault}")).go();
        Ok(())
    };
    let name = "walkthrough::it_leads_to_two_machines";
    vec![Trial::test(name, it_leads_to_two_machines).with_ignored_flag(missing)]
}

/// The commands, as they stand in the README.
fn commands() -> Vec<String> {
    let text = fs::read_to_string(checkout::top().join("README.md")).expect("the README");
    let section = text.split("\n## ").find(|section| section.starts_with("From nothing to two machines\n"));
    let blocks = section.expect("the section").split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("\n```").next().unwrap_or_default().lines());
    lines.filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// The words of a verb; `None` for what is no verb.
fn words(command: &str) -> Option<Vec<&str>> {
    command.strip_prefix("cargo xtask ").map(|rest| rest.split(' ').collect())
}

/// What stands behind an option.
fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().position(|word| *word == name).map(|at| words[at + 1])
}

/// In a folder that is no checkout a verb gets no further than its words.
#[apply(trial)]
fn every_verb_is_taken() {
    let empty = tempfile::tempdir().expect("a folder");
    let refused = |words: &[&str]| {
        let mut command = Command::new(program());
        command
            .args(words)
            .current_dir(&empty)
            .env("HALE_ROOT", empty.path())
            .env("HALE_STORE", empty.path());
        said(&run(command.stdin(Stdio::null()))).contains("\nUsage: cargo xtask ")
    };
    let commands = commands();
    let verbs: Vec<_> = commands.iter().filter_map(|command| words(command)).collect();
    assert!(verbs.len() >= 9, "{commands:#?}");
    for words in verbs {
        assert!(!refused(&words), "{words:?}");
        assert!(refused(&[words.as_slice(), &["--cabel"]].concat()), "{words:?} takes anything");
    }
}

/// `cargo` for a shell: runs our program; of `fetch`, `image` and `vm` it says that they went well, and leaves what a
/// master would.
const CARGO: &str = r#"#!/bin/sh
shift
case "$1" in
fetch | image) exit ;;
vm)
    [ "$2" = node ] || cp join.toml "$DESK/dist/join.toml"
    exit
    ;;
esac
exec PROGRAM "$@"
"#;

/// What `hale token` prints.
const JOIN: &str = "[join]\nendpoint = \"10.0.3.1:6443\"\ntoken = \"abcdef.0123456789abcdef\"\nca-pins = [\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"]\nissued = 2026-11-22T10:00:00Z\nexpires = 2026-11-23T10:00:00Z\ntaken = [\"10.0.3.16-10.0.3.60\"]\n";

#[apply(trial)]
fn what_needs_no_machine_runs() {
    let checkout = TestCheckout::with_program_of(LINE);
    let cargo = CARGO.replace("PROGRAM", program().to_str().expect("UTF-8")).replace("$DESK/", "");
    let cargo = cargo.replace("join.toml \"", &format!("{} \"", checkout.path("join.toml").display()));
    put(checkout.path("bin/cargo"), cargo);
    fs::set_permissions(checkout.path("bin/cargo"), fs::Permissions::from_mode(0o755)).expect("a mode");
    put(checkout.path("join.toml"), JOIN);
    let program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\0\0\x3e\0a program";
    for name in ["crio", "pinns", "crictl", "coredns"] {
        put(checkout.root().join(name), program);
    }
    let mut tar = tool("tar", "tar");
    succeed(tar.args(["-czf", "cri-o.tar.gz", "crio", "pinns"]).current_dir(checkout.root()));
    for command in commands() {
        let mut shell = tool("sh", "dash");
        shell.args(["-ec", &command]).current_dir(checkout.root());
        let own = checkout.command(&[]);
        shell.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let path = std::env::var("PATH").expect("a path");
        let output = run(shell.env("PATH", format!("{}:{path}", checkout.path("bin").display())));
        assert!(output.status.success(), "{command}: {}", said(&output));
    }
    for name in ["master", "node"] {
        let folder = checkout.root().join(format!("dist/{name}.seed"));
        let text = fs::read_to_string(folder.join("node.toml")).expect("a node.toml");
        let role = include_str!("../../../node/examples/role.toml").replacen(
            "role = \"master\"",
            &format!("role = {name:?}"),
            1,
        );
        let role = RoleConfig::parse(&role).expect("a role");
        let config =
            NodeConfig::parse("node.toml", &text, &role).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert!(config.missing(&role).is_none(), "{text}");
        assert!(checkout.root().join(format!("dist/{LINE}/{name}")).is_dir(), "no bundle of {name}");
    }
}

/// A checkout with the components at hand, and the store that has what was made of them.
struct Way {
    system: TestSystem,
}

impl Way {
    fn at_hand() -> Result<Self> {
        Ok(Self { system: TestSystem::handed_over(LINE)? })
    }

    fn top(&self) -> &Path {
        self.system.project.root()
    }

    /// What was handed over, as files of the names that the README has.
    fn lay_out(&self, words: &[&str]) {
        let ["input", "add", name, file, ..] = words else { return };
        let inputs = &self.system.lock.inputs;
        let input = inputs.values().find(|input| input.component.as_str() == *name).expect("the component");
        let LockedOrigin::Supplied { digest, .. } = &input.from else { panic!("{name} was not handed over") };
        put(self.top().join(file), self.system.store.read(digest).expect("its bytes"));
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(words).current_dir(self.top()).stdin(Stdio::null());
        command.env("HALE_ROOT", self.top()).env("HALE_STORE", self.system.store.root());
        command
    }

    fn go(self) {
        let mut machines = Vec::new();
        for command in commands() {
            match words(&command) {
                None => drop(succeed(tool("sh", "dash").args(["-ec", &command]).current_dir(self.top()))),
                Some(words) if words[0] == "vm" => machines.push(self.machine(&words)),
                Some(words) => {
                    self.lay_out(&words);
                    succeed(&mut self.command(&words));
                }
            }
        }
        assert_eq!(machines.len(), 2);
    }

    /// Starts a machine and waits until it is done: a master's join file is there then.
    fn machine(&self, words: &[&str]) -> Running {
        let console = self.top().join(format!("{}.console", words[1]));
        let file = fs::File::create(&console).expect("a file for the console");
        let again = file.try_clone().expect("a file for the console");
        // In a namespace that goes with whoever made it: QEMU would outlive the verb.
        let verb = self.command(words);
        let mut unshare = tool("unshare", "util-linux");
        unshare.args(["--pid", "--fork", "--kill-child", "--"]).arg(verb.get_program()).args(verb.get_args());
        unshare.envs(verb.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut unshare = bound(&unshare);
        let child = unshare.current_dir(self.top()).stdin(Stdio::null()).stdout(file).stderr(again).spawn();
        let mut running = Running { child: child.expect("the verb starts"), console };
        let join = option(words, "--join").map(|path| self.top().join(path));
        let end = Instant::now() + LIMIT;
        loop {
            let told = running.console().contains("hale: verify done");
            let given = join.as_ref().is_none_or(|path| {
                let text = fs::read_to_string(path).unwrap_or_default();
                text.starts_with("[join]") && text.contains("\ntaken = [") && text.ends_with("]\n")
            });
            if told && given {
                return running;
            }
            let ended = running.child.try_wait().expect("the verb can be asked");
            assert!(ended.is_none() && Instant::now() < end, "{words:?}: {ended:?}\n{}", running.console());
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// A machine of the verb; it ends with its value.
struct Running {
    child: Child,
    console: PathBuf,
}

impl Running {
    fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
