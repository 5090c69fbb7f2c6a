//! What the cluster says about itself and this node, through kubectl.

use std::time::Duration;

use crate::fault::{Fault, Result};
use crate::node::{Node, PODS_LABEL};
use crate::phases::until;
use crate::role::Range;

/// The longest wait for the API server or the node: emulated and very slow machines included.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// Whether a kubectl command ends well.
pub fn succeeds(node: &Node, arguments: &[&str]) -> Result<bool> {
    Ok(node.world.run(&node.kubectl(arguments))?.success())
}

/// Whether the API server answers and is healthy.
pub fn answers(node: &Node) -> Result<bool> {
    let ran = node.world.run(&node.kubectl(&["get", "--raw", "/healthz"]))?;
    Ok(ran.success() && ran.stdout.trim() == "ok")
}

/// Waits for that.
pub fn wait_for_answer(node: &Node) -> Result<()> {
    until(node, "the API server does not answer", PATIENCE, &|| answers(node))
}

/// Whether nodes can find the cluster's CA.
pub fn has_info(node: &Node) -> Result<bool> {
    succeeds(node, &["get", "configmap", "-n", "kube-public", "cluster-info"])
}

/// Whether CoreDNS is asked for.
pub fn has_dns(node: &Node) -> Result<bool> {
    succeeds(node, &["get", "deployment", "-n", "kube-system", "coredns"])
}

/// Whether this node is ready.
pub fn is_ready(node: &Node) -> Result<bool> {
    let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
    let ran = node.world.run(&node.kubectl(&["get", "node", &node.name, "-o", ready]))?;
    Ok(ran.success() && ran.stdout.trim() == "True")
}

/// Waits for that.
pub fn wait_until_ready(node: &Node) -> Result<()> {
    until(node, "the node does not become ready", PATIENCE, &|| is_ready(node))
}

/// The pod ranges that nodes have, by their label.
pub fn ranges(node: &Node) -> Result<Vec<(String, Range)>> {
    let label = PODS_LABEL.replace('/', "\\/");
    let template = format!(
        "jsonpath={{range .items[*]}}{{.metadata.name}} {{.metadata.labels.{label}}}{{\"\\n\"}}{{end}}"
    );
    let text = node.world.ask(&node.kubectl(&["get", "nodes", "-o", &template]))?;
    let line = |line: &str| {
        let (name, range) = line.trim().split_once(' ')?;
        Some((name.to_owned(), range.parse().ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// Refuses a range that another node has too.
pub fn check_ranges(node: &Node) -> Result<()> {
    let own = node.identity.pods(node.role);
    let others = ranges(node)?;
    let clash = others.iter().find(|(name, range)| *name != node.name && range.overlaps(&own));
    match clash {
        None => Ok(()),
        Some((name, range)) => {
            let what = format!("this node's pod range {own} overlaps {range} of node {name}");
            Err(Fault::input(what)
                .mend("`hale reset` this node, and give it a free range in /etc/hale/node.toml"))
        }
    }
}
