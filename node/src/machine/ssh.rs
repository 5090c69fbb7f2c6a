//! SSH, by Debian's openssh-server: keys alone, the operator alone, and only while node.toml asks for it.
//!
//! Debian's unit starts on a disk of ours only where the file of settings is that is written here
//! (`ssh.service.d/hale.conf`). The host's key is made on the node.

use std::net::Ipv4Addr;

use crate::config::access::{AccessConfig, SSH_PORT, SshListen};
use crate::config::node::NodeConfig;
use crate::config::role::RoleConfig;
use crate::fault::{Fault, Result};
use crate::host::systemd::systemctl;
use crate::host::{Command, Host, files};
use crate::kubernetes::context;

use super::account::Account;

/// Settings, read before all others and so the ones that count (sshd_config(5)).
pub const SETTINGS: &str = "/etc/ssh/sshd_config.d/10-hale.conf";
/// The operator's keys: root's to change, and the operator's group's to read.
const KEYS: &str = "/etc/ssh/hale-operator.keys";
/// The host's one key.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";
const NEW_HOST_KEY: &str = "/etc/ssh/.ssh_host_ed25519_key.hale";
/// Debian's unit.
pub const UNIT: &str = "ssh.service";
/// Path of the program.
pub const PROGRAM: &str = "/usr/sbin/sshd";

/// Writes keys and settings, makes the host's key, and starts sshd.
pub(super) fn set_up(
    host: &dyn Host,
    role: &RoleConfig,
    config: &NodeConfig,
    access: &AccessConfig,
    account: &Account,
) -> Result<()> {
    if !host.path(PROGRAM).is_file() {
        return Err(Fault::machine(format!("{PROGRAM} is missing")).help("apt-get install openssh-server"));
    }
    let address = match access.ssh_listen {
        SshListen::Lan => Some(context::address(host, role, config)?),
        SshListen::Every => None,
    };
    make_host_key(host)?;
    let keys: String = access.ssh_keys.iter().map(|key| format!("{key}\n")).collect();
    files::update(host, KEYS, &keys, files::Access { mode: 0o640, group: account.gid })?;
    let text = settings(access, address);
    let changed = files::update(host, SETTINGS, &text, files::Access::ROOT_ONLY)?;
    // sshd asks for the keys at each log-in, and for the settings once. Who is logged in stays so.
    systemctl(host, &[if changed { "restart" } else { "start" }, "--no-block", UNIT])
}

/// Returns sshd's settings: everything that others might set otherwise is said.
pub fn settings(access: &AccessConfig, address: Option<Ipv4Addr>) -> String {
    let operator = access.operator.get_ref();
    let listen = match address {
        Some(address) => format!("ListenAddress {address}:{SSH_PORT}\n"),
        None => format!("ListenAddress 0.0.0.0:{SSH_PORT}\nListenAddress [::]:{SSH_PORT}\n"),
    };
    format!(
        "# Written by hale: [access] of node.toml.\n\
         {listen}\
         HostKey {HOST_KEY}\n\
         AllowUsers {operator}\n\
         AuthorizedKeysFile {KEYS}\n\
         AuthenticationMethods publickey\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         HostbasedAuthentication no\n\
         GSSAPIAuthentication no\n\
         PermitEmptyPasswords no\n\
         PermitRootLogin no\n\
         PermitUserEnvironment no\n\
         RequiredRSASize 2048\n\
         StrictModes yes\n\
         UsePAM yes\n\
         X11Forwarding no\n\
         AllowAgentForwarding no\n\
         MaxAuthTries 4\n\
         LoginGraceTime 60\n"
    )
}

/// Stops sshd and removes what it was told, where it was told something. Who is logged in stays so until the end of the
/// session.
pub(super) fn take_down(host: &dyn Host) -> Result<()> {
    if files::read(host, SETTINGS)?.is_some() {
        systemctl(host, &["stop", UNIT])?;
    }
    files::remove(host, KEYS)?;
    files::remove(host, SETTINGS)
}

/// Makes the host's key with ssh-keygen(1), once. It is in its place whole or not at all.
fn make_host_key(host: &dyn Host) -> Result<()> {
    if files::read(host, HOST_KEY)?.is_some() {
        return Ok(());
    }
    let public = |key: &str| format!("{key}.pub");
    [NEW_HOST_KEY, &public(NEW_HOST_KEY)].iter().try_for_each(|path| files::remove(host, path))?;
    let scratch = host.argument(NEW_HOST_KEY);
    let arguments = ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &scratch];
    host.run_checked(&Command::new("/usr/bin/ssh-keygen", &arguments).secret())?;
    files::promote(host, &public(NEW_HOST_KEY), &public(HOST_KEY))?;
    files::promote(host, NEW_HOST_KEY, HOST_KEY)
}
