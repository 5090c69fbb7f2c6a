//! Invitations: bootstrap tokens that are good for one node. For whom, the token's own description says, in the API
//! server's secret of it; so token and words are made, and end, together.
//!
//! kubeadm's own tokens are no invitations. The right by which the controller manager would approve whatever name is
//! asked for with one is taken away ([`close`]); the master approves by itself, and never its own name.

use std::fmt;

use serde_json::json;

use crate::config::{AddressRange, DnsLabel};
use crate::fault::Result;
use crate::kubernetes::api;
use crate::kubernetes::context::Node;
use crate::text::base64;

/// What a bootstrap token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Name of the invited node; `None` for any that the cluster does not know yet.
    pub name: Option<DnsLabel>,
    /// The one range that its pods may have.
    pub pods: Option<AddressRange>,
    /// Whether a node has come with it.
    pub taken: bool,
}

/// What the description of an invitation's token begins with.
const INVITES: &str = "hale: invites ";
const TAKEN: &str = "hale: was taken by ";
const ANY: &str = "a new node";
const PODS: &str = " with pods ";

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.taken { TAKEN } else { INVITES })?;
        f.write_str(self.name.as_ref().map_or(ANY, DnsLabel::as_str))?;
        self.pods.map_or(Ok(()), |pods| write!(f, "{PODS}{pods}"))
    }
}

impl Invitation {
    /// Parses a token's description; returns `None` if it is no invitation's.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, taken) = match text.strip_prefix(INVITES) {
            Some(rest) => (rest, false),
            None => (text.strip_prefix(TAKEN)?, true),
        };
        let (who, pods) = match rest.split_once(PODS) {
            Some((who, pods)) => (who, Some(pods.parse().ok()?)),
            None => (rest, None),
        };
        let name = if who == ANY { None } else { Some(who.parse().ok()?) };
        (name.is_some() || !taken).then_some(Self { name, pods, taken })
    }
}

/// Returns the invitations that are valid now, by the public part of their tokens.
pub fn list(node: &Node) -> Result<Vec<(String, Invitation)>> {
    let template = "jsonpath={range .items[*]}{.metadata.name} {.data.description}{\"\\n\"}{end}";
    let of_type = "type=bootstrap.kubernetes.io/token";
    let text = api::kubectl(
        node,
        &["get", "secrets", "-n", "kube-system", "--field-selector", of_type, "-o", template],
    )?;
    let line = |line: &str| {
        let (name, description) = line.split_once(' ')?;
        let description = String::from_utf8(base64::decode(description)?).ok()?;
        Some((name.strip_prefix(SECRET)?.to_owned(), Invitation::parse(&description)?))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// What the name of a token's secret begins with; the token's public part follows.
const SECRET: &str = "bootstrap-token-";

/// Marks an invitation as taken by a node of this name: from now on it is for no other.
pub fn take(node: &Node, id: &str, invitation: &Invitation, name: &DnsLabel) -> Result<()> {
    let taken = Invitation { name: Some(name.clone()), taken: true, ..invitation.clone() };
    let patch = json!({"data": {"description": base64::encode(taken.to_string().as_bytes())}}).to_string();
    let secret = format!("{SECRET}{id}");
    api::kubectl(node, &["patch", "secret", "-n", "kube-system", &secret, "-p", &patch]).map(drop)
}

/// Deletes a token: the node that came with it has credentials of its own.
pub fn end(node: &Node, id: &str) -> Result<()> {
    let secret = format!("{SECRET}{id}");
    api::kubectl(node, &["delete", "secret", "-n", "kube-system", &secret, "--ignore-not-found"]).map(drop)
}

/// kubeadm's binding by which the controller manager approves any name that is asked for with a token.
const OPEN: &str = "kubeadm:node-autoapprove-bootstrap";

/// Returns whether kubeadm's binding is gone.
pub fn is_closed(node: &Node) -> Result<bool> {
    Ok(!api::exists(node, &["get", "clusterrolebinding", OPEN])?)
}

/// Deletes kubeadm's binding.
pub fn close(node: &Node) -> Result<()> {
    api::kubectl(node, &["delete", "clusterrolebinding", OPEN, "--ignore-not-found"]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_read_as_it_was_written_and_nothing_else_is_one() {
        for text in [
            "hale: invites a new node",
            "hale: invites node-1",
            "hale: invites node-1 with pods 10.0.3.61-10.0.3.105",
            "hale: invites a new node with pods 10.0.3.61-10.0.3.105",
            "hale: was taken by node-1",
            "hale: was taken by node-1 with pods 10.0.3.61-10.0.3.105",
        ] {
            assert_eq!(
                Invitation::parse(text).map(|invitation| invitation.to_string()).as_deref(),
                Some(text)
            );
        }
        for text in [
            "",
            "The default bootstrap token generated by 'kubeadm init'.",
            "hale: invites ",
            "hale: invites node-1 ",
            "hale: invites system:node:node-1",
            "hale: invites node-1 with pods ",
            "hale: invites node-1 with pods 10.0.3.61",
            "hale: was taken by a new node",
        ] {
            assert_eq!(Invitation::parse(text), None, "{text}");
        }
    }
}
