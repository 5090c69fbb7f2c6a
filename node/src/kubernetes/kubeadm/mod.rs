//! Runs the pinned kubeadm and its phases.

use crate::fault::{Fault, Result};
use crate::host::{Command, run_dir};
use crate::kubernetes::context::Node;
use crate::kubernetes::paths::PKI;

use dialect::dialect;
use errors::explain;

pub mod api_server;
pub mod config;
pub mod dialect;
mod errors;
pub mod manifest;

/// Runs phases of `kubeadm init`, one after the other, with the node's configuration.
pub fn init_phases(node: &Node, phases: &[&[&str]]) -> Result<()> {
    with_config(node, "init.json", &config::init(node, PKI)?, |config| {
        phases.iter().try_for_each(|words| phase(node, words, config))
    })
}

/// Calls a function with the path of a configuration for kubeadm, which is removed however the function ends: it holds
/// a token.
pub fn with_config<T>(node: &Node, name: &str, text: &str, act: impl FnOnce(&str) -> Result<T>) -> Result<T> {
    run_dir::with_file(node.host, name, text.as_bytes(), act)
}

/// Runs kubeadm for at most so many minutes and returns what it prints.
pub fn run(node: &Node, arguments: &[&str], minutes: u64) -> Result<String> {
    run_command(node, &Command::new(&node.role.programs.kubeadm, arguments).minutes(minutes))
}

/// Runs one phase of `kubeadm init` with a configuration file.
pub fn phase(node: &Node, phase: &[&str], config: &str) -> Result<()> {
    run(node, &[&["init", "phase"], phase, &["--config", config]].concat(), 10).map(drop)
}

fn run_command(node: &Node, command: &Command) -> Result<String> {
    let output = node.host.run(command)?;
    if output.success() {
        return Ok(output.stdout);
    }
    Err(explain(&format!("{}\n{}", output.stdout, output.stderr), output.code.is_none()))
}

/// Makes a kubeconfig for a user: text with a private key in it.
pub fn user_kubeconfig(node: &Node, user: &str) -> Result<String> {
    let with = |options: &[&str]| {
        let words = [&["alpha", "kubeconfig", "user", "--client-name", user], options].concat();
        run_command(node, &Command::new(&node.role.programs.kubeadm, &words).secret())
    };
    if dialect(node.role.kubernetes.minor()).user_takes_config {
        let text = config::init(node, PKI)?;
        return with_config(node, "user.json", &text, |config| with(&["--config", config]));
    }
    let address = node.role.cluster.advertise_address.to_string();
    with(&["--apiserver-advertise-address", &address, "--cert-dir", PKI])
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
        .help("install the pinned packages again: apt-get install --reinstall hale-common"))
}

#[cfg(test)]
mod tests;
