//! The operator's account: one user of the machine's, who may become root.

use zeroize::Zeroizing;

use crate::config::Secret;
use crate::config::access::{AccessConfig, OperatorName};
use crate::fault::{Fault, Result};
use crate::host::{Command, Host, files};

/// Name of the user that was made; it is the one to lock when node.toml names another.
const RECORD: &str = "/var/lib/hale/operator";
/// sudoers(5) of the operator.
pub(super) const SUDOERS: &str = "/etc/sudoers.d/hale-operator";
/// The first id of people (Debian Policy 9.2.2): those below are the system's.
const FIRST_PERSON: u32 = 1000;
/// In the place of a hash: no password fits (shadow(5)). With `!` some programs would call the account locked.
const NO_PASSWORD: &str = "*";

/// A user as the machine has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// Id of the user.
    pub(super) uid: u32,
    /// Id of its group.
    pub(super) gid: u32,
}

/// Makes the operator's account, or sets it right.
pub(super) fn make(host: &dyn Host, access: &AccessConfig) -> Result<Account> {
    let operator = access.operator.get_ref();
    let account = match find(host, operator)? {
        Some(account) if account.uid < FIRST_PERSON => {
            let what = format!("{operator} is a user of the system's, with the id {}", account.uid);
            return Err(Fault::input(what).help("name another operator in [access] of /etc/hale/node.toml"));
        }
        Some(account) => account,
        None => add(host, operator)?,
    };
    // Before anything is given to the account: whoever comes later must know whom to take it from.
    files::update(host, RECORD, &format!("{operator}\n"), files::Access::ROOT_ONLY)?;
    let hash = access.password_hash.as_ref().map_or(NO_PASSWORD, |hash| hash.expose());
    set_password(host, operator, hash)?;
    let rule =
        format!("# Written by hale: the operator of node.toml.\n{operator} ALL=(ALL:ALL) NOPASSWD: ALL\n");
    files::update(host, SUDOERS, &rule, files::Access { mode: 0o440, group: 0 })?;
    Ok(account)
}

/// Locks the account that an earlier node.toml named, unless it is `operator`; takes root's rights from it.
pub(super) fn leave_only(host: &dyn Host, operator: Option<&OperatorName>) -> Result<()> {
    let Some(former) = files::read(host, RECORD)? else { return Ok(()) };
    let former = former.trim().parse::<OperatorName>().map_err(|fault| fault.context(RECORD))?;
    if operator == Some(&former) {
        return Ok(());
    }
    files::remove(host, SUDOERS)?;
    if find(host, &former)?.is_some() {
        // Expired on the second day of 1970: no key opens it either (usermod(8)).
        let arguments = ["--lock", "--expiredate", "1", former.as_str()];
        host.run_checked(&Command::new("/usr/sbin/usermod", &arguments))?;
    }
    files::remove(host, RECORD)
}

fn add(host: &dyn Host, operator: &OperatorName) -> Result<Account> {
    let own = ["--create-home", "--user-group", "--shell", "/bin/bash", "--comment", "Operator"];
    // No range of ids for containers of its own: those are the cluster's.
    let keys = ["--key", "HOME_MODE=0700", "--key", "SUB_UID_COUNT=0", "--key", "SUB_GID_COUNT=0"];
    let arguments = [own.as_slice(), &keys, &[operator.as_str()]].concat();
    host.run_checked(&Command::new("/usr/sbin/useradd", &arguments))?;
    find(host, operator)?.ok_or_else(|| Fault::machine(format!("useradd made no user {operator}")))
}

/// Finds a user in passwd(5).
pub(super) fn find(host: &dyn Host, operator: &OperatorName) -> Result<Option<Account>> {
    let text = files::need(host, "/etc/passwd")?;
    let entry = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let Some(fields) = entry.into_iter().find(|fields| fields[0] == operator.as_str()) else {
        return Ok(None);
    };
    let id = |at: usize| fields.get(at).and_then(|id| id.parse().ok());
    match (id(2), id(3)) {
        (Some(uid), Some(gid)) => Ok(Some(Account { uid, gid })),
        _ => Err(Fault::machine(format!("/etc/passwd has no ids of {operator}"))),
    }
}

/// Sets the hash in shadow(5), and ends an expiry, unless both are so. The hash goes through a pipe: a command line is
/// anybody's to read.
fn set_password(host: &dyn Host, operator: &OperatorName, hash: &str) -> Result<()> {
    let text = Zeroizing::new(files::need(host, "/etc/shadow")?);
    let fields = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let fields = fields.into_iter().find(|fields| fields[0] == operator.as_str()).unwrap_or_default();
    if fields.get(1) != Some(&hash) {
        let line = Secret::from(format!("{operator}:{hash}\n"));
        host.run_checked(&Command::new("/usr/sbin/chpasswd", &["--encrypted"]).input(line).secret())?;
    }
    if fields.get(7).is_some_and(|expiry| !expiry.is_empty()) {
        let arguments = ["--expiredate", "", operator.as_str()];
        host.run_checked(&Command::new("/usr/sbin/usermod", &arguments))?;
    }
    Ok(())
}
