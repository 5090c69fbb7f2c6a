//! On the master: requests for certificates are approved when they are exactly what their node may ask for, and ranges of
//! pods given. The controller manager signs what is approved.
//!
//! | who asks | for what | and only if |
//! |---|---|---|
//! | `system:kube-proxy` | its own next certificate | |
//! | a bootstrap token | one node's first certificate | the token invites that node ([`invitation`]); never the master |
//! | a node | its kubelet's as a server, for its name and its address | the address is no other's, its range is given |
//!
//! Every other request is left alone, for the operator.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::DnsLabel;
use crate::fault::{Fault, Result};
use crate::host::{CommandOutput, openssl, run_dir};
use crate::kubernetes::api::{self, Member};
use crate::kubernetes::context::{GIVEN_LABEL, Node, PODS_LABEL};
use crate::kubernetes::invitation::{self, Invitation};
use crate::kubernetes::kube_proxy::USER;
use crate::kubernetes::kubeadm::dialect::{KubeadmDialect, dialect};
use crate::kubernetes::retry::retry;
use crate::network::names;
use crate::text::base64;

use super::csr;
use super::form::Form;

/// Prefixes of the user names of nodes and of tokens.
const NODE: &str = "system:node:";
const TOKEN: &str = "system:bootstrap:";

/// Maximum time for one question: one that has no answer holds all others up.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Decides about all open requests; returns whether anybody is still invited.
pub fn approve(node: &Node) -> Result<bool> {
    let dialect = dialect(node.role.kubernetes.minor());
    let members = retry(node, REQUEST_TIMEOUT, &|| api::members(node))?;
    names::of_members(node, &members)?;
    let invitations = retry(node, REQUEST_TIMEOUT, &|| invitation::list(node))?;
    let mut cluster = Cluster { node, dialect, members, invitations };
    cluster.give_ranges()?;
    for (name, user) in cluster.open_requests()? {
        cluster.decide(&name, &user)?;
    }
    Ok(!cluster.invitations.is_empty())
}

/// The cluster as it is known while requests are decided about.
struct Cluster<'a> {
    node: &'a Node<'a>,
    dialect: &'static KubeadmDialect,
    members: Vec<Member>,
    invitations: Vec<(String, Invitation)>,
}

impl Cluster<'_> {
    /// Gives each node that has none the range that it claims, if it may have it. What was given stays, whatever the
    /// node says later.
    fn give_ranges(&mut self) -> Result<()> {
        for index in 0..self.members.len() {
            let Some(range) = self.members[index].claim.filter(|_| self.may_have_range(&self.members[index]))
            else {
                continue;
            };
            let label = format!("{GIVEN_LABEL}={range}");
            self.kubectl(&["label", "node", &self.members[index].name, &label])?;
            self.members[index].given = Some(range);
        }
        Ok(())
    }

    /// Returns whether a node may have the range that it claims: nobody else's, and the one of its invitation, or one
    /// no longer than the master's own.
    fn may_have_range(&self, member: &Member) -> bool {
        let (Some(claim), None) = (member.claim, member.given) else { return false };
        let (role, cluster) = (self.node.role, &self.node.role.cluster);
        let own = self.node.config.pods(role);
        let mut reserved: Vec<_> = self.members.iter().flat_map(|other| other.addresses.clone()).collect();
        reserved.extend([cluster.gateway, cluster.advertise_address]);
        let free = self.members.iter().all(|other| !other.given.is_some_and(|given| given.overlaps(&claim)));
        let fits = match self.invitation_of(&member.name).and_then(|(_, invitation)| invitation.pods) {
            _ if member.name == self.node.name => claim == own,
            Some(invited) => claim == invited,
            None => claim.count() <= own.count() && !claim.overlaps(&own),
        };
        free && fits && claim.check_within(cluster.subnet, &reserved).is_ok()
    }

    /// Returns the invitation that a node of this name has taken.
    fn invitation_of(&self, name: &str) -> Option<&(String, Invitation)> {
        let is_its = |(_, invitation): &&(String, Invitation)| {
            invitation.taken && invitation.name.as_ref().is_some_and(|own| own.as_str() == name)
        };
        self.invitations.iter().find(is_its)
    }

    /// Returns the names of open requests, each with its user.
    fn open_requests(&self) -> Result<Vec<(String, String)>> {
        let template = "jsonpath={range .items[*]}{.metadata.name} {.spec.username} {.status.conditions[*].type}{\"\\n\"}{end}";
        let text = self.kubectl(&["get", &csr::resource(self.dialect), "-o", template])?;
        let line = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [name, user] = words[..] { Some((name.to_owned(), user.to_owned())) } else { None }
        };
        Ok(text.lines().filter_map(line).collect())
    }

    fn decide(&mut self, name: &str, user: &str) -> Result<()> {
        let is_known = user == USER || user.starts_with(NODE) || user.starts_with(TOKEN);
        if !is_known {
            return Ok(());
        }
        // It may be gone by now: the API server removes old requests.
        let resource = csr::resource(self.dialect);
        let text = self.kubectl(&["get", &resource, name, "--ignore-not-found", "-o", "json"])?;
        let object = serde_json::from_str(&text).unwrap_or(Value::Null);
        if object["spec"]["username"] != user {
            return Ok(());
        }
        if user == USER {
            return self.judge(&Form::Proxy, name, object).map(drop);
        }
        match user.strip_prefix(TOKEN) {
            Some(id) => self.invite(id, name, object),
            None => self.serve(user.strip_prefix(NODE).unwrap_or_default(), name, object),
        }
    }

    /// Approves an invited node's first certificate, after it has marked the invitation as taken: so another node can
    /// have neither.
    fn invite(&mut self, id: &str, name: &str, object: Value) -> Result<()> {
        let Some(index) = self.invitations.iter().position(|(known, _)| known == id) else { return Ok(()) };
        let invitation = self.invitations[index].1.clone();
        let Some(who) = self.asks_to_be(&object)? else { return Ok(()) };
        let is_new = self.members.iter().all(|member| member.name != who.as_str());
        let is_invited = invitation.name.as_ref().map_or(is_new, |invited| *invited == who);
        if who.as_str() == self.node.name
            || !is_invited
            || !self.is_exact(&Form::Member(who.clone()), &object)?
        {
            return Ok(());
        }
        if !invitation.taken {
            retry(self.node, REQUEST_TIMEOUT, &|| invitation::take(self.node, id, &invitation, &who))?;
            self.invitations[index].1 = Invitation { name: Some(who.clone()), taken: true, ..invitation };
        }
        // Of an earlier life of the node, or an attempt to join that came to nothing, no word counts any more.
        if !is_new {
            let labels = [PODS_LABEL, GIVEN_LABEL].map(|label| format!("{label}-"));
            self.kubectl(&["label", "node", who.as_str(), &labels[0], &labels[1]])?;
        }
        self.approve_request(name, object, "hale: the node was invited")
    }

    /// Returns the node's name in a request's subject, by openssl(1); the request is compared with it byte for byte
    /// later.
    fn asks_to_be(&self, object: &Value) -> Result<Option<DnsLabel>> {
        let Some(pem) = object["spec"]["request"].as_str().and_then(base64::decode) else { return Ok(None) };
        let arguments = ["req", "-noout", "-subject", "-nameopt", "RFC2253"];
        let output = self.openssl(&arguments, &pem)?;
        let name = output.stdout.trim().strip_prefix("subject=CN=system:node:");
        Ok(name.and_then(|rest| rest.strip_suffix(",O=system:nodes")).and_then(|name| name.parse().ok()))
    }

    /// Approves a node's serving certificate: then it has credentials of its own, and its invitation ends.
    fn serve(&mut self, who: &str, name: &str, object: Value) -> Result<()> {
        let Some(member) = self.members.iter().find(|member| member.name == who) else { return Ok(()) };
        let (Some(address), Ok(own)) = (self.own_address(member), who.parse::<DnsLabel>()) else {
            return Ok(());
        };
        if member.given.is_none() {
            return Ok(());
        }
        if self.judge(&Form::Server(own, address), name, object)?
            && let Some((id, _)) = self.invitation_of(who).cloned()
        {
            retry(self.node, REQUEST_TIMEOUT, &|| invitation::end(self.node, &id))?;
            self.invitations.retain(|(other, _)| *other != id);
        }
        Ok(())
    }

    /// Returns a node's one address, if it lies in the cluster's subnet and is nobody else's.
    fn own_address(&self, member: &Member) -> Option<Ipv4Addr> {
        let cluster = &self.node.role.cluster;
        if member.name == self.node.name {
            return Some(cluster.advertise_address);
        }
        let [address] = member.addresses[..] else { return None };
        let others = self.members.iter().filter(|other| other.name != member.name);
        let taken = others.flat_map(|other| &other.addresses).any(|other| *other == address)
            || self.members.iter().any(|other| other.given.is_some_and(|given| given.contains(&address)))
            || [cluster.gateway, cluster.advertise_address].contains(&address);
        (!taken && cluster.subnet.contains(&address)).then_some(address)
    }

    /// Approves a request if it is exactly of this form.
    fn judge(&self, form: &Form, name: &str, object: Value) -> Result<bool> {
        let yes = self.is_exact(form, &object)?;
        if yes {
            self.approve_request(name, object, "hale: the node may have it")?;
        }
        Ok(yes)
    }

    fn is_exact(&self, form: &Form, object: &Value) -> Result<bool> {
        let Some(pem) = csr::request(self.dialect, form, object) else { return Ok(false) };
        let output = self.openssl(&["req", "-verify", "-noout", "-pubkey"], pem.as_bytes())?;
        // openssl 3.0 ends well after a wrong signature too, and tells it in words.
        let signed = output.success() && output.stderr.contains("verify OK");
        let key = base64::of_pem(&output.stdout).unwrap_or_default();
        Ok(signed && form.is_exact(&pem, &key))
    }

    /// Runs openssl(1) on a request.
    fn openssl(&self, arguments: &[&str], pem: &[u8]) -> Result<CommandOutput> {
        let host = self.node.host;
        run_dir::with_file(host, &scratch("pem"), pem, |file| {
            host.run(&openssl::command(&[arguments, &["-in", &host.argument(file)]].concat()))
        })
    }

    /// Approves a request. The object goes back as it was judged: the API server refuses it if it has changed since.
    fn approve_request(&self, name: &str, mut object: Value, why: &str) -> Result<()> {
        let host = self.node.host;
        object["status"] = json!({"conditions": [{
            "type": "Approved",
            "status": "True",
            "reason": "Hale",
            "message": why,
        }]});
        let text = serde_json::to_string(&object)
            .map_err(|e| Fault::machine(format!("cannot write an approval: {e}")))?;
        let place = csr::approval_path(self.dialect, name);
        run_dir::with_file(host, &scratch("json"), text.as_bytes(), |file| {
            let path = host.argument(file);
            retry(self.node, REQUEST_TIMEOUT, &|| {
                match api::kubectl(self.node, &["replace", "--raw", &place, "-f", &path]) {
                    // It is another one by now, or none: the next look is for that.
                    Err(fault)
                        if ["(Conflict)", "(NotFound)"].iter().any(|w| fault.to_string().contains(w)) =>
                    {
                        Ok(())
                    }
                    answer => answer.map(drop),
                }
            })
        })
    }

    /// Runs kubectl until the API server answers.
    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        retry(self.node, REQUEST_TIMEOUT, &|| api::kubectl(self.node, arguments))
    }
}

/// Returns the path of a file in memory of this process alone: the timer and the approver may be at work at once.
fn scratch(end: &str) -> String {
    format!("request-{}.{end}", std::process::id())
}
