//! Questions to the API server about the cluster and this node, through kubectl.
//!
//! A question is answered with yes, with no, or not at all: on a slow machine timeouts are common, and mean
//! nothing. So no answer is a transient fault, and whoever can wait asks again.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::AddressRange;
use crate::fault::{Fault, Result};
use crate::host::run_dir;
use crate::kubernetes::context::{GIVEN_LABEL, Node, PODS_LABEL};
use crate::kubernetes::retry::{retry, wait_until};

/// Maximum wait for the API server or the node, on emulated and very slow machines too.
pub const API_TIMEOUT: Duration = Duration::from_secs(20 * 60);

/// The API server's response to one request.
enum Response {
    /// What kubectl printed.
    Text(String),
    /// The object does not exist; the server's words.
    NotFound(String),
    /// Credentials rejected, or the server's CA is not trusted.
    Unauthorized(String),
    /// No answer, and the reason.
    NoAnswer(String),
}

/// Runs kubectl once and sorts its outcome.
fn request(node: &Node, arguments: &[&str]) -> Result<Response> {
    let command = node.kubectl(arguments);
    let output = node.host.run(&command)?;
    let why = output.reason();
    // As kubectl and Go's crypto/x509 word it.
    let unauthorized = ["(Unauthorized)", "(Forbidden)", "signed by unknown authority"];
    Ok(match output.code {
        Some(0) => Response::Text(output.stdout),
        None => Response::NoAnswer(format!("no answer within {:?}", command.limit)),
        Some(_) if why.contains("(NotFound)") => Response::NotFound(why.to_owned()),
        Some(_) if unauthorized.iter().any(|words| why.contains(words)) => {
            Response::Unauthorized(why.to_owned())
        }
        Some(_) => Response::NoAnswer(why.to_owned()),
    })
}

fn no_answer(why: &str) -> Fault {
    Fault::transient(format!("the API server does not answer: {why}"))
}

/// Runs kubectl and returns what it prints; an object that does not exist is a transient fault, too.
pub fn kubectl(node: &Node, arguments: &[&str]) -> Result<String> {
    match request(node, arguments)? {
        Response::Text(text) => Ok(text),
        Response::NotFound(why) => Err(Fault::transient(format!("the API server says: {why}"))),
        Response::Unauthorized(why) | Response::NoAnswer(why) => Err(no_answer(&why)),
    }
}

/// Runs kubectl and returns what it prints, or `None` if the object does not exist.
fn get(node: &Node, arguments: &[&str]) -> Result<Option<String>> {
    match request(node, arguments)? {
        Response::Text(text) => Ok(Some(text)),
        Response::NotFound(_) => Ok(None),
        Response::Unauthorized(why) | Response::NoAnswer(why) => Err(no_answer(&why)),
    }
}

/// Returns whether the object that these arguments of kubectl name exists.
pub fn exists(node: &Node, arguments: &[&str]) -> Result<bool> {
    Ok(get(node, arguments)?.is_some())
}

/// Applies objects with `kubectl apply`; they are in a file of this name in `/run/hale` for as long as it
/// takes.
pub fn apply(node: &Node, name: &str, objects: &[Value]) -> Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    run_dir::with_file(node.host, name, list.as_bytes(), |file| {
        let path = node.host.argument(file);
        retry(node, API_TIMEOUT, &|| kubectl(node, &["apply", "-f", &path])).map(drop)
    })
}

/// Returns whether the API server accepts the node's credentials, be the node registered or not yet.
pub fn accepts(node: &Node) -> Result<bool> {
    match request(node, &["get", "node", &node.name])? {
        Response::Text(_) | Response::NotFound(_) => Ok(true),
        Response::Unauthorized(_) => Ok(false),
        Response::NoAnswer(why) => Err(no_answer(&why)),
    }
}

/// Returns whether the API server is healthy.
pub fn is_healthy(node: &Node) -> Result<bool> {
    Ok(kubectl(node, &["get", "--raw", "/healthz"])?.trim() == "ok")
}

/// Waits until the API server is healthy.
pub fn wait_until_healthy(node: &Node) -> Result<()> {
    wait_until(node, "the API server is not healthy", API_TIMEOUT, &|| is_healthy(node))
}

/// Returns whether nodes can find the cluster's CA.
pub fn has_cluster_info(node: &Node) -> Result<bool> {
    exists(node, &["get", "configmap", "-n", "kube-public", "cluster-info"])
}

/// Returns whether CoreDNS is deployed.
pub fn has_dns(node: &Node) -> Result<bool> {
    exists(node, &["get", "deployment", "-n", "kube-system", "coredns"])
}

/// Returns whether this node is ready.
pub fn is_ready(node: &Node) -> Result<bool> {
    let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
    let said = get(node, &["get", "node", &node.name, "-o", ready])?;
    Ok(said.is_some_and(|text| text.trim() == "True"))
}

/// Waits until this node is ready.
pub fn wait_until_ready(node: &Node) -> Result<()> {
    wait_until(node, "the node is not ready", API_TIMEOUT, &|| is_ready(node))
}

/// A node as the cluster knows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    /// Name of the node.
    pub name: String,
    /// Range that it claims for its pods.
    pub claim: Option<AddressRange>,
    /// Range that the master gave it.
    pub given: Option<AddressRange>,
    /// Its addresses.
    pub addresses: Vec<Ipv4Addr>,
}

/// Returns all nodes.
pub fn members(node: &Node) -> Result<Vec<Member>> {
    let label = |name: &str| format!("{{.metadata.labels.{}}}", name.replace('.', "\\.").replace('/', "\\/"));
    let template = format!(
        "jsonpath={{range .items[*]}}{{.metadata.name}}|{}|{}|{{.status.addresses[?(@.type==\"InternalIP\")].address}}{{\"\\n\"}}{{end}}",
        label(PODS_LABEL),
        label(GIVEN_LABEL),
    );
    let text = kubectl(node, &["get", "nodes", "-o", &template])?;
    let line = |line: &str| {
        let mut words = line.split('|');
        let name = words.next()?.to_owned();
        let mut range = || words.next()?.parse().ok();
        let (claim, given) = (range(), range());
        let addresses = words.next()?.split(' ').filter_map(|address| address.parse().ok()).collect();
        Some(Member { name, claim, given, addresses })
    };
    Ok(text.lines().filter_map(line).collect())
}

/// Returns the pod ranges that the master gave to nodes, each with its node's name.
pub fn ranges(node: &Node) -> Result<Vec<(String, AddressRange)>> {
    let given = |member: Member| member.given.map(|range| (member.name, range));
    Ok(members(node)?.into_iter().filter_map(given).collect())
}

/// Waits until the master has given this node the range that it claims; refuses one that another node has.
///
/// A range of `join.taken`, which `hale token` printed, is refused before anything is done. One that was given away
/// since is found only here, behind the join: a bootstrap token may list no nodes (kubeadm gives its group none of that).
pub fn wait_for_range(node: &Node) -> Result<()> {
    let own = node.config.pods(node.role);
    retry(node, API_TIMEOUT, &|| {
        let ranges = ranges(node)?;
        let clash = ranges.iter().find(|(name, range)| *name != node.name && range.overlaps(&own));
        if let Some((name, range)) = clash {
            let what = format!("pod range {own} overlaps {range} of node {name}");
            let fault = Fault::input(what);
            return Err(fault.help("choose a free range in /etc/hale/node.toml; it goes on by itself"));
        }
        match ranges.iter().find(|(name, _)| *name == node.name) {
            Some((_, range)) if *range == own => Ok(()),
            Some((_, range)) => {
                let what = format!("the master gave this node the pod range {range}, not {own}");
                Err(Fault::input(what).help("put that into /etc/hale/node.toml; it goes on by itself"))
            }
            None => {
                Err(Fault::transient(format!("the master has not given this node the pod range {own} yet")))
            }
        }
    })
}
