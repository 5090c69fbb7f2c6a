//! The pinned kubeadm: how its phases are called, what differs between 1.17 and 1.20, what its errors mean.

use crate::config::Minor;
use crate::fault::{Class, Fault, Result};
use crate::host::{Call, files};
use crate::kubernetes::context::Node;

pub mod api_server;
pub mod config;
pub mod manifest;

/// Where certificates are.
pub const PKI: &str = "/etc/kubernetes/pki";
/// The kubeconfig that may do everything: root's alone.
pub const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// The kubelet's kubeconfig.
pub const KUBELET: &str = "/etc/kubernetes/kubelet.conf";
/// Where CRI-O listens.
pub const CRI_SOCKET: &str = "/var/run/crio/crio.sock";

/// What differs between the two minor releases. Everything else of ours is the same for both.
#[derive(Debug)]
pub struct Ways {
    /// The command that renews all certificates (`kubeadm certs` left alpha in 1.20).
    pub renew: &'static [&'static str],
    /// Whether `alpha kubeconfig user` takes the configuration file (1.20, kubernetes #94879) or flags; with flags it
    /// looks for the newest release in the internet, and does without after 10 s.
    pub user_takes_config: bool,
    /// What makes `join` say why it finds no API server that it may trust: 1.17 tells that in its log alone, and ends
    /// with a time-out (kubernetes #86936).
    pub join_tells: &'static [&'static str],
    /// Whether manifests have a startup probe (1.18 on, when the feature became beta).
    pub startup_probe: bool,
    /// The version of `certificates.k8s.io` (`v1` came with 1.19; `v1beta1` is all that 1.17 has).
    pub requests_api: &'static str,
    /// Whether a request says who is asked to sign it; those of 1.17 do not.
    pub names_signers: bool,
}

/// The table of differences. What kubeadm's commands take is compared with `node/testdata/kubeadm-*/commands.txt`.
pub fn ways(minor: Minor) -> &'static Ways {
    match minor {
        Minor::V17 => &Ways {
            renew: &["alpha", "certs", "renew", "all"],
            user_takes_config: false,
            join_tells: &["--v=1"],
            startup_probe: false,
            requests_api: "v1beta1",
            names_signers: false,
        },
        Minor::V20 => &Ways {
            renew: &["certs", "renew", "all"],
            user_takes_config: true,
            join_tells: &[],
            startup_probe: true,
            requests_api: "v1",
            names_signers: true,
        },
    }
}

/// Writes a configuration for kubeadm into memory that a reboot forgets, and gives its path.
pub fn configure(node: &Node, name: &str, text: &str) -> Result<String> {
    let path = format!("/run/hale/{name}");
    files::make_directory(node.world, &node.world.path("/run/hale"), 0o700)?;
    files::write(node.world, &path, text.as_bytes(), 0o600)?;
    Ok(path)
}

/// Runs kubeadm with at most so many minutes.
pub fn run(node: &Node, arguments: &[&str], minutes: u64) -> Result<String> {
    ask(node, &Call::new(&node.role.programs.kubeadm, arguments).minutes(minutes))
}

/// Runs one phase of `kubeadm init` with a configuration file.
pub fn phase(node: &Node, phase: &[&str], config: &str) -> Result<()> {
    run(node, &[&["init", "phase"], phase, &["--config", config]].concat(), 10).map(drop)
}

fn ask(node: &Node, call: &Call) -> Result<String> {
    let ran = node.world.run(call)?;
    if ran.success() {
        return Ok(ran.stdout);
    }
    Err(explain(&format!("{}\n{}", ran.stdout, ran.stderr), ran.code.is_none()))
}

/// A kubeconfig for another user, as text with a private key in it.
pub fn user_kubeconfig(node: &Node, user: &str) -> Result<String> {
    let mut call =
        Call::new(&node.role.programs.kubeadm, &["alpha", "kubeconfig", "user", "--client-name", user]);
    if ways(node.role.kubernetes.minor()).user_takes_config {
        let config = configure(node, "user.json", &config::init(node, PKI)?)?;
        call.arguments.extend(["--config".to_owned(), config]);
    } else {
        let address = node.role.cluster.advertise_address.to_string();
        call.arguments.extend(["--apiserver-advertise-address".to_owned(), address]);
        call.arguments.extend(["--cert-dir".to_owned(), PKI.to_owned()]);
    }
    ask(node, &call.secret())
}

/// What kubeadm's words mean for the operator: a pattern, whether trying again can help, what to say, what to do.
const MEANINGS: [(&str, Class, &str, &str); 13] = [
    (
        "none of the public keys",
        Class::Integrity,
        "the API server's CA is none of join.ca-pins",
        "do not join it; take a join file from the right master with `hale token`",
    ),
    (
        "could not find a JWS signature",
        Class::Missing,
        "the API server does not know the bootstrap token, or it has expired",
        "run `hale token` on the master and put the new [join] into /etc/hale/node.toml",
    ),
    (
        "is invalid for this cluster or it has expired",
        Class::Missing,
        "the API server does not know the bootstrap token, or it has expired",
        "run `hale token` on the master and put the new [join] into /etc/hale/node.toml",
    ),
    (
        "failed to verify JWS signature",
        Class::Missing,
        "the API server knows the bootstrap token with another secret",
        "run `hale token` on the master and put the new [join] into /etc/hale/node.toml",
    ),
    (
        "Unauthorized",
        Class::Missing,
        "the API server refuses the bootstrap token: it has expired",
        "run `hale token` on the master and put the new [join] into /etc/hale/node.toml",
    ),
    (
        "certificate has expired or is not yet valid",
        Class::Passing,
        "a certificate is not valid at this time: one of the clocks is wrong",
        "set this node's clock, or the master's",
    ),
    (
        "already exists in the cluster",
        Class::Input,
        "a node of this name is in the cluster, and ready",
        "give this node another name in /etc/hale/node.toml; if it was this node, wait until it is not ready any more",
    ),
    ("no space left on device", Class::Passing, "the disk is full", "free some space; it goes on by itself"),
    ("connection refused", Class::Passing, "the API server does not answer yet", "it is tried again"),
    ("i/o timeout", Class::Passing, "the API server cannot be reached", "check the bridge and the endpoint"),
    (
        "no route to host",
        Class::Passing,
        "the API server cannot be reached",
        "check the bridge and the endpoint",
    ),
    ("Client.Timeout exceeded", Class::Passing, "the API server is too slow", "it is tried again"),
    ("timed out waiting for the condition", Class::Passing, "it took too long", "it is tried again"),
];

/// The lines that can say why it ended: no warning, such as of a host name that no server knows, and nothing of its
/// log but, behind all others, why it last found no API server that it may trust.
fn reasons(said: &str) -> Vec<&str> {
    let is_log =
        |line: &str| line.starts_with('I') && line.get(1..5).is_some_and(|day| day.parse::<u16>().is_ok());
    let is_reason = |line: &&str| !is_log(line) && !line.trim_start().starts_with("[WARNING ");
    let mut lines: Vec<&str> = said.lines().filter(is_reason).collect();
    if lines.iter().any(|line| line.contains("abort connecting to API servers")) {
        lines.extend(said.lines().rfind(|line| line.contains("[discovery] Failed to connect to API Server")));
    }
    lines
}

/// One line for what kubeadm said at length.
fn explain(said: &str, killed: bool) -> Fault {
    let lines = reasons(said);
    let lower = lines.join("\n").to_lowercase();
    for (pattern, class, what, mend) in MEANINGS {
        // Go and the C library begin the same words in their own ways.
        if lower.contains(&pattern.to_lowercase()) {
            return Fault::new(class, what).mend(mend);
        }
    }
    let errors: Vec<&str> = lines.iter().filter_map(|line| line.trim().strip_prefix("[ERROR ")).collect();
    if !errors.is_empty() {
        let what = format!("kubeadm refuses this machine: [{}", errors.join(", ["));
        return Fault::passing(what).mend("see /var/lib/hale/log/kubeadm.log; it is tried again");
    }
    // Go's own end of a program is followed by its stacks.
    let crash = |line: &&&str| ["panic: ", "fatal error: "].iter().any(|begin| line.starts_with(begin));
    let last = |line: &&&str| !line.trim().is_empty() && !line.starts_with("To see the stack trace");
    let line = lines.iter().find(crash).or_else(|| lines.iter().rfind(last)).copied();
    let line = line.unwrap_or("it said nothing").trim().chars().take(300).collect::<String>();
    let what =
        if killed { format!("kubeadm took too long: {line}") } else { format!("kubeadm failed: {line}") };
    Fault::passing(what).mend("see /var/lib/hale/log/kubeadm.log; it is tried again")
}

/// Refuses a kubeadm of another version than the role's.
pub fn check_version(node: &Node) -> Result<()> {
    let found = run(node, &["version", "-o", "short"], 1)?;
    let expected = format!("v{}", node.role.kubernetes);
    if found.trim() == expected {
        return Ok(());
    }
    let what = format!("{} is {}, not {expected}", node.role.programs.kubeadm.display(), found.trim());
    Err(Fault::machine(what)
        .mend("install the pinned packages again: apt-get install --reinstall hale-common"))
}

#[cfg(test)]
mod tests;
