//! What `node.toml` says of a machine whose disk is ours, beside the cluster: who may enter it, and where apt finds
//! Debian's packages.
//!
//! Everything here is a function of the file, applied at each boot and whenever `hale machine` is called: what it no
//! longer says is taken back. A machine that somebody else installed is its owner's, and nothing of it is touched.

use crate::config::apt::{AptSource, deb822};
use crate::config::node::NodeConfig;
use crate::config::role::RoleConfig;
use crate::fault::{Fault, Result};
use crate::host::systemd::systemctl;
use crate::host::{Host, files};

mod account;
pub mod kubeconfig;
pub mod ssh;

/// The unit that applies it at a boot.
pub const UNIT: &str = "hale-machine.service";
/// Its file, which no machine of somebody else's has.
const UNIT_FILE: &str = "/usr/lib/systemd/system/hale-machine.service";
/// apt's sources of ours.
const SOURCES: &str = "/etc/apt/sources.list.d/hale.sources";

/// Makes the machine what node.toml says.
pub fn apply(host: &dyn Host, role: &RoleConfig, config: &NodeConfig) -> Result<()> {
    check(host, config)?;
    if !is_ours(host) {
        return Ok(());
    }
    // None of it keeps the operator out, who alone can mend it.
    let sources = write_sources(host, config.apt.as_ref().unwrap_or(&role.apt));
    let_in(host, role, config).and(sources)
}

/// Lets the operator in, and nobody else.
fn let_in(host: &dyn Host, role: &RoleConfig, config: &NodeConfig) -> Result<()> {
    let access = config.access.as_ref();
    account::leave_only(host, access.map(|access| access.operator.get_ref()))?;
    let Some(access) = access else {
        return kubeconfig::remove(host).and(ssh::take_down(host));
    };
    let account = account::make(host, access)?;
    let kubeconfig = kubeconfig::refresh(host, role, config);
    let ssh = match access.has_ssh() {
        true => ssh::set_up(host, role, config, access, &account),
        false => ssh::take_down(host),
    };
    ssh.and(kubeconfig)
}

/// Returns whether this is a disk of ours.
fn is_ours(host: &dyn Host) -> bool {
    host.path(UNIT_FILE).exists()
}

/// Refuses to touch a machine of somebody else's.
pub fn check(host: &dyn Host, config: &NodeConfig) -> Result<()> {
    let asked = [("access", config.access.is_some()), ("apt", config.apt.is_some())];
    match asked.iter().find(|(_, asked)| *asked) {
        Some((table, _)) if !is_ours(host) => {
            let what =
                format!("{} has {table}, and this machine was installed by somebody else", NodeConfig::PATH);
            Err(Fault::input(what).help("take it out: log-ins and apt's sources are this machine's own"))
        }
        _ => Ok(()),
    }
}

/// Has systemd apply it anew, on a machine that has the unit.
pub fn restart(host: &dyn Host) -> Result<()> {
    if !is_ours(host) {
        return Ok(());
    }
    systemctl(host, &["restart", "--no-block", UNIT])
}

fn write_sources(host: &dyn Host, sources: &[AptSource]) -> Result<()> {
    if sources.is_empty() {
        return files::remove(host, SOURCES);
    }
    files::update(host, SOURCES, &deb822(sources), files::Access::ROOT_READABLE).map(drop)
}

#[cfg(test)]
mod tests;
