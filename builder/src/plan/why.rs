//! Why a step runs again: the first thing in its text that changed, followed down to its root.

use std::fmt;

use serde_json::Value;

use super::{FilesStep, LabelledStep, Plan, Step, StepId};
use crate::base::tree::{Contents, Tree};
use crate::base::{Fault, Result};

/// One link of the reason: this step's key changed from one value to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepChange {
    /// The step's label.
    pub step: String,
    /// The place in its text, by keys from the outside: `package.control.Depends`.
    pub key: String,
    /// The value in the earlier plan; `None` when there was none.
    pub old: Option<String>,
    /// The value now.
    pub new: Option<String>,
}

impl fmt::Display for StepChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(f, "{}: {} was {}, is {}", self.step, self.key, side(&self.old), side(&self.new))
    }
}

/// Follows the changes from the step called `label` down to the first cause. Empty: nothing changed.
/// Trees are opened to name the path that changed, as far as `contents` still has them.
pub fn why(old: &Plan, new: &Plan, label: &str, contents: &dyn Contents) -> Result<Vec<StepChange>> {
    let mut chain = Vec::new();
    let mut label = new.find(label)?.1.label.clone();
    loop {
        let (_, now) = new.find(&label)?;
        let Ok((_, before)) = old.find(&label) else {
            chain.push(StepChange {
                step: label,
                key: "the step".to_owned(),
                old: None,
                new: Some("new".to_owned()),
            });
            return Ok(chain);
        };
        let Some((key, was, is)) = first_change(before, now)? else { return Ok(chain) };
        let below = is.as_ref().and_then(Value::as_str).and_then(|text| input(new, now, text));
        let show = |value: &Option<Value>, plan: &Plan| value.as_ref().map(|value| shown(value, plan));
        chain.push(StepChange { step: label.clone(), key, old: show(&was, old), new: show(&is, new) });
        match below {
            Some(next) => label = next,
            None => {
                chain.extend(inside_trees(&before.step, &now.step, &label, contents));
                return Ok(chain);
            }
        }
    }
}

fn text(step: &Step) -> Result<Value> {
    serde_json::from_slice(&step.text()?).map_err(|e| Fault::bug("a step's text is no JSON").cause(e))
}

type Changed = Option<(String, Option<Value>, Option<Value>)>;

fn first_change(before: &LabelledStep, now: &LabelledStep) -> Result<Changed> {
    Ok(descend(String::new(), Some(&text(&before.step)?), Some(&text(&now.step)?)))
}

fn descend(key: String, old: Option<&Value>, new: Option<&Value>) -> Changed {
    if old == new {
        return None;
    }
    let under = |part: &str| if key.is_empty() { part.to_owned() } else { format!("{key}.{part}") };
    match (old, new) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            keys.into_iter().find_map(|part| descend(under(part), a.get(part), b.get(part)))
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            // A step's text is the pair of its format number and itself.
            let name = |index: usize| match (key.is_empty(), index) {
                (true, 0) => "format".to_owned(),
                (true, _) => String::new(),
                _ => under(&index.to_string()),
            };
            (0..a.len().max(b.len())).find_map(|index| descend(name(index), a.get(index), b.get(index)))
        }
        _ => Some((key, old.cloned(), new.cloned())),
    }
}

/// The label of the input that `text` names, if it is one of the step's.
fn input(plan: &Plan, planned: &LabelledStep, text: &str) -> Option<String> {
    let id: StepId = text.parse().ok()?;
    planned.step.inputs().into_iter().find(|input| *input == id)?;
    Some(plan.get(&id)?.label.clone())
}

/// A value for people: another step by its label, a text as it is.
fn shown(value: &Value, plan: &Plan) -> String {
    let step = |text: &str| plan.get(&text.parse().ok()?).map(|planned| format!("another {}", planned.label));
    match value {
        Value::String(text) => step(text).unwrap_or_else(|| text.clone()),
        other => other.to_string(),
    }
}

fn inside_trees(before: &Step, now: &Step, label: &str, contents: &dyn Contents) -> Option<StepChange> {
    let (Step::Files(FilesStep { tree: old, .. }), Step::Files(FilesStep { tree: new, .. })) = (before, now)
    else {
        return None;
    };
    let read = |digest| Tree::from_json(&contents.read(digest).ok()?).ok();
    let (old, new) = (read(old)?, read(new)?);
    let changed = new.iter().find(|(path, node)| old.get(path.as_str()) != Some(node));
    let gone = old.iter().find(|(path, _)| new.get(path.as_str()).is_none());
    let (path, _) = changed.or(gone)?;
    let side = |tree: &Tree| tree.get(path.as_str()).map(|node| format!("{:?} {:04o}", node.kind, node.mode));
    Some(StepChange { step: label.to_owned(), key: path.to_string(), old: side(&old), new: side(&new) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;
    use crate::base::tree::{Kind, Memory, TreePath};
    use crate::plan::UnpackStep;

    fn plan(memory: &mut Memory, text: &str) -> Plan {
        let mut tree = Tree::new();
        tree.insert(TreePath::new("etc/f").unwrap(), memory.file(text, 0o644)).unwrap();
        let Kind::File { content: tree, .. } = memory.file(tree.to_json().unwrap(), 0o644).kind else {
            unreachable!()
        };
        let mut plan = Plan::new();
        let files = plan.add("files common", FilesStep { tree }).unwrap();
        let unpacked = plan.add("unpack common", UnpackStep { deb: files }).unwrap();
        plan.want(unpacked);
        plan
    }

    #[test]
    fn the_chain_ends_at_the_file() {
        let mut memory = Memory::default();
        let (old, new) = (plan(&mut memory, "a"), plan(&mut memory, "b"));
        let chain = why(&old, &new, "unpack common", &memory).unwrap();
        let keys: Vec<_> = chain.iter().map(|change| (change.step.as_str(), change.key.as_str())).collect();
        assert_eq!(keys, [("unpack common", "deb"), ("files common", "tree"), ("files common", "etc/f")]);
        assert_eq!(
            chain[0].to_string(),
            "unpack common: deb was another files common, is another files common"
        );
        assert!(chain[2].new.as_ref().unwrap().contains(&Digest::of("b").hex()));
        assert!(why(&new, &new, "unpack common", &memory).unwrap().is_empty());
        let first = why(&Plan::new(), &new, "files common", &memory).unwrap();
        assert_eq!(first[0].to_string(), "files common: the step was nothing, is new");
    }
}
