//! The operator's kubeconfig on the master: `kubectl` works for whom it belongs to, and for no other user.

use crate::config::node::NodeConfig;
use crate::config::role::RoleConfig;
use crate::fault::Result;
use crate::host::{Host, files};
use crate::kubernetes::paths;
use crate::people::{self, DAYS, Group, PersonName};

use super::account;

/// Path of the file: root's to change, and the operator's group's to read. `/usr/lib/hale/profile.sh` names it.
pub const PATH: &str = "/etc/hale/operator.conf";
/// A certificate that ends within so many days is replaced.
const RENEWED: u64 = 60;

/// Writes the operator's kubeconfig on a master that has a cluster, unless it is there and good for long.
pub fn refresh(host: &dyn Host, role: &RoleConfig, config: &NodeConfig) -> Result<()> {
    let Some(access) = config.access.as_ref().filter(|_| role.is_master()) else { return remove(host) };
    let operator = access.operator.get_ref();
    if files::read(host, paths::CA)?.is_none() {
        return remove(host);
    }
    let Some(account) = account::find(host, operator)? else { return Ok(()) };
    let name: PersonName = operator.as_str().parse()?;
    let found = files::read(host, PATH)?.unwrap_or_default();
    let access = files::Access { mode: 0o640, group: account.gid };
    if people::is_current(host, &found, &name, RENEWED)? {
        return files::update(host, PATH, &found, access).map(drop);
    }
    let text = people::make(host, role, &name, &[Group::operators()], DAYS)?;
    files::update(host, PATH, text.expose(), access).map(drop)
}

/// Removes it.
pub fn remove(host: &dyn Host) -> Result<()> {
    files::remove(host, PATH)
}
