//! Explains kubeadm's errors, in one line and with what to do.

use crate::fault::{Class, Fault};

/// What kubeadm's errors mean: a pattern, the class, the message, the help.
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
        Class::Transient,
        "a certificate is not valid at this time: one of the clocks is wrong",
        "set this node's clock, or the master's",
    ),
    (
        "already exists in the cluster",
        Class::Input,
        "a node of this name is in the cluster, and ready",
        "give this node another name in /etc/hale/node.toml; if it was this node, wait until it is not ready any more",
    ),
    (
        "no space left on device",
        Class::Transient,
        "the disk is full",
        "free some space; it goes on by itself",
    ),
    ("connection refused", Class::Transient, "the API server does not answer yet", "it is tried again"),
    (
        "i/o timeout",
        Class::Transient,
        "the API server cannot be reached",
        "check the bridge and the endpoint",
    ),
    (
        "no route to host",
        Class::Transient,
        "the API server cannot be reached",
        "check the bridge and the endpoint",
    ),
    ("Client.Timeout exceeded", Class::Transient, "the API server is too slow", "it is tried again"),
    ("timed out waiting for the condition", Class::Transient, "it took too long", "it is tried again"),
];

/// Returns the lines that can say why it failed: no warning, such as of a host name that no server knows, and nothing
/// of its log but, behind all others, why it last found no API server that it may trust.
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

/// Turns kubeadm's output into a fault of one line.
pub(super) fn explain(said: &str, killed: bool) -> Fault {
    let lines = reasons(said);
    let lower = lines.join("\n").to_lowercase();
    for (pattern, class, what, help) in MEANINGS {
        // Go and the C library begin the same words in their own ways.
        if lower.contains(&pattern.to_lowercase()) {
            return Fault::new(class, what).help(help);
        }
    }
    let errors: Vec<&str> = lines.iter().filter_map(|line| line.trim().strip_prefix("[ERROR ")).collect();
    if !errors.is_empty() {
        let what = format!("kubeadm refuses this machine: [{}", errors.join(", ["));
        return Fault::transient(what).help("see /var/lib/hale/log/kubeadm.log; it is tried again");
    }
    // Go's own end of a program is followed by its stacks.
    let crash = |line: &&&str| ["panic: ", "fatal error: "].iter().any(|begin| line.starts_with(begin));
    let last = |line: &&&str| !line.trim().is_empty() && !line.starts_with("To see the stack trace");
    let line = lines.iter().find(crash).or_else(|| lines.iter().rfind(last)).copied();
    let line = line.unwrap_or("it said nothing").trim().chars().take(300).collect::<String>();
    let what =
        if killed { format!("kubeadm took too long: {line}") } else { format!("kubeadm failed: {line}") };
    Fault::transient(what).help("see /var/lib/hale/log/kubeadm.log; it is tried again")
}
