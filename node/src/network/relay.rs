//! The name server of the cluster's machines: systemd-resolved on the master, on its address in their network and
//! nowhere else. It asks the uplink's name servers, and knows the nodes (`/etc/hosts`).

use crate::config::node::Bridge;
use crate::fault::Result;
use crate::host::files;
use crate::host::systemd::{is_active, systemctl};
use crate::kubernetes::context::Node;

/// Its settings; `systemd-resolved.service.d/hale.conf` of an image starts it where they are.
pub const PATH: &str = "/etc/systemd/resolved.conf.d/10-hale.conf";
/// Its unit.
const UNIT: &str = "systemd-resolved.service";

/// Returns whether this machine is the name server: the master, where its program is, as on every image.
pub fn is_here(node: &Node) -> bool {
    node.role.is_master()
        && node.config.network.bridge == Bridge::Make
        && node.host.path(&format!("/usr/lib/systemd/system/{UNIT}")).is_file()
}

/// Starts it, or what it has become by other settings.
pub(super) fn start(node: &Node) -> Result<()> {
    if !is_here(node) {
        return Ok(());
    }
    // An empty DNS= has it read no /etc/resolv.conf, which names itself (resolved.conf(5)).
    let text = format!(
        "[Resolve]\nDNS=\nFallbackDNS=\nDNSStubListener=no\nDNSStubListenerExtra={}\nLLMNR=no\nMulticastDNS=no\n",
        node.role.cluster.gateway
    );
    if files::put(node.host, PATH, Some(&text))? || !is_active(node.host, UNIT)? {
        systemctl(node.host, &["restart", UNIT])?;
    }
    Ok(())
}
