//! kubectl on what the cluster keeps: objects that are applied, labels, the secrets of bootstrap tokens.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::answers::ok;
use super::member;
use crate::config::AddressRange;
use crate::host::CommandOutput;
use crate::testing::fake::machine::{FakeHost, MachineState};
use crate::text::base64;

/// What the API server answers; `None` when this is about something else.
pub(super) fn kubectl(fake: &FakeHost, words: &[&str]) -> Option<CommandOutput> {
    if words.starts_with(&["get", "nodes"]) {
        member::is_registered(fake);
        return Some(ok(&nodes(&fake.state.borrow(), &fake.node_name())));
    }
    let state = &mut *fake.state.borrow_mut();
    let token = |secret: &str| secret.strip_prefix("bootstrap-token-").unwrap().to_owned();
    match words {
        ["apply", "-f", file] => {
            let list: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
            let items = list["items"].as_array().unwrap();
            state
                .objects
                .extend(items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()));
        }
        ["label", "--overwrite", "node", name, label] | ["label", "node", name, label] => {
            change(state, name, label);
        }
        ["label", "node", name, first, second] => {
            [first, second].iter().for_each(|label| change(state, name, label))
        }
        ["get", "secrets", "-n", "kube-system", "--field-selector", _, "-o", _] => {
            let line = |(id, words): (&String, &String)| {
                format!("bootstrap-token-{id} {}\n", base64::encode(words.as_bytes()))
            };
            return Some(ok(&state.invitations.iter().map(line).collect::<String>()));
        }
        ["patch", "secret", "-n", "kube-system", secret, "-p", patch] => {
            let patch: Value = serde_json::from_str(patch).unwrap();
            let words = base64::decode(patch["data"]["description"].as_str().unwrap()).unwrap();
            state.invitations.insert(token(secret), String::from_utf8(words).unwrap());
        }
        ["delete", "secret", "-n", "kube-system", secret, "--ignore-not-found"] => {
            state.invitations.remove(&token(secret));
        }
        ["delete", "clusterrolebinding", name, "--ignore-not-found"] => drop(state.objects.remove(*name)),
        _ => return None,
    }
    Some(ok(""))
}

/// One line a node: its name, the range that it claims, the one that it was given, its addresses.
fn nodes(state: &MachineState, own: &str) -> String {
    let given = |object: &String| Some(object.strip_prefix("range ")?.split_once(' ')?.0.to_owned());
    let ranges = state.objects.iter().filter_map(given);
    let names: BTreeSet<String> =
        state.claims.keys().chain(state.others.keys()).cloned().chain(ranges).collect();
    let line = |name: String| {
        let claim = state.claims.get(&name).cloned().unwrap_or_default();
        let begin = format!("range {name} ");
        let given = state.objects.iter().find_map(|object| object.strip_prefix(&begin)).unwrap_or_default();
        let other = || state.others.get(&name).cloned().unwrap_or_default();
        let addresses = if name == own { state.addresses.join(" ") } else { other() };
        format!("{name}|{claim}|{given}|{addresses}\n")
    };
    names.into_iter().map(line).collect()
}

/// A label is set or taken away. Where the master is another machine, it gives a node what it claims and nobody has.
fn change(state: &mut MachineState, name: &str, label: &str) {
    let begin = format!("range {name} ");
    let mut forget = || state.objects.retain(|object| !object.starts_with(&begin));
    if let Some(range) = label.strip_prefix("node-restriction.kubernetes.io/hale-pods=") {
        forget();
        state.objects.insert(format!("{begin}{range}"));
    } else if label == "node-restriction.kubernetes.io/hale-pods-" {
        forget();
    } else if label == "hale/pods-" {
        state.claims.remove(name);
        if state.objects.contains("elsewhere") {
            state.objects.retain(|object| !object.starts_with(&begin));
        }
    } else if let Some(range) = label.strip_prefix("hale/pods=") {
        state.claims.insert(name.to_owned(), range.to_owned());
        let claim: AddressRange = range.parse().unwrap();
        let of_another = |object: &String| {
            let range = object.strip_prefix("range ").and_then(|rest| rest.split_once(' '));
            range.is_some_and(|(other, range)| {
                other != name && range.parse::<AddressRange>().unwrap().overlaps(&claim)
            })
        };
        if state.objects.contains("elsewhere") {
            state.objects.retain(|object| !object.starts_with(&begin));
            if !state.objects.iter().any(of_another) {
                state.objects.insert(format!("{begin}{range}"));
            }
        }
    }
}
