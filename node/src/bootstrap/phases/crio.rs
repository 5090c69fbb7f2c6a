//! CRI-O, and the addresses that it gives to this node's pods.

use std::time::Duration;

use serde_json::json;

use crate::fault::{Fault, Result};
use crate::host::files;
use crate::host::systemd::{problems, systemctl};
use crate::kubernetes::context::Node;
use crate::kubernetes::retry::wait_until;

/// CNI configuration with this node's pod range; sorts before the packaged `100-crio-bridge.conf`, and CRI-O takes the
/// first.
pub const CNI: &str = "/etc/cni/net.d/10-hale-pods.conf";

/// The unit of CRI-O.
const UNIT: &str = "crio.service";

/// Returns whether CRI-O answers and has this node's pod range.
pub fn is_done(node: &Node) -> Result<bool> {
    Ok(files::read(node.host, CNI)? == pods(node)? && answers(node)?)
}

fn answers(node: &Node) -> Result<bool> {
    Ok(node.host.run(&node.crictl(&["version"]))?.success())
}

/// Writes the pod range and starts CRI-O.
pub fn apply(node: &Node) -> Result<()> {
    match pods(node)? {
        Some(text) => files::write(node.host, CNI, text.as_bytes(), 0o644)?,
        None => files::remove(node.host, CNI)?,
    }
    if let Err(fault) = systemctl(node.host, &["start", UNIT]) {
        return Err(why_not(node).unwrap_or(fault));
    }
    wait_until(node, "CRI-O does not answer (journalctl -u crio)", Duration::from_secs(300), &|| {
        answers(node)
    })
}

/// Returns a fault that says what CRI-O said; it can be tried again: systemd does so all the time.
fn why_not(node: &Node) -> Option<Fault> {
    let problem = problems(node.host, &[UNIT]).ok()?.pop()?;
    let what = format!("{UNIT} does not start ({}): {}", problem.result, problem.said);
    Some(Fault::transient(what).help("journalctl -u crio tells more; it goes on by itself once CRI-O runs"))
}

/// Returns the CNI configuration if node.toml names a range; else the packaged one counts.
fn pods(node: &Node) -> Result<Option<String>> {
    let (cluster, Some(range)) = (&node.role.cluster, &node.config.network.pods) else { return Ok(None) };
    let range = range.get_ref();
    let config = json!({
        "cniVersion": "0.3.1",
        "name": "crio-bridge",
        "type": "bridge",
        "bridge": cluster.bridge,
        "isGateway": false,
        "ipMasq": false,
        "ipam": {
            "type": "host-local",
            "routes": [{"dst": "0.0.0.0/0"}],
            "ranges": [[{
                "subnet": cluster.subnet,
                "rangeStart": range.first,
                "rangeEnd": range.last,
                "gateway": cluster.gateway,
            }]],
        },
    });
    let text = serde_json::to_string_pretty(&config)
        .map_err(|e| Fault::machine(format!("cannot write {CNI}: {e}")))?;
    Ok(Some(text + "\n"))
}
