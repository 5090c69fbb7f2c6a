//! Differences between two locks.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Lock;
use crate::base::Digest;
use crate::base::name::GroupName;

/// One line of the difference between two locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LockChange {
    /// A suite, component or package.
    pub name: String,
    /// The earlier value; none when it is new.
    pub before: Option<String>,
    /// The value now; none when it is gone.
    pub after: Option<String>,
    /// The roles and groups that want it; empty for a suite.
    #[serde(rename = "for")]
    pub wanted_by: BTreeSet<GroupName>,
}

/// Compares two locks: sorted by kind and name, suites first, then inputs, packages, source packages.
pub fn changes(before: Option<&Lock>, after: &Lock) -> Vec<LockChange> {
    let before_rows = before.map(rows).unwrap_or_default();
    let after_rows = rows(after);
    let keys: BTreeSet<_> = before_rows.keys().chain(after_rows.keys()).collect();
    let change = |key: &(u8, String)| {
        let (was, is) = (before_rows.get(key), after_rows.get(key));
        let wanted_by = is.or(was).map(|row| row.wanted_by.clone()).unwrap_or_default();
        let differs = was.map(|row| (&row.text, row.identity)) != is.map(|row| (&row.text, row.identity));
        let text = |row: Option<&Row>| row.map(|row| row.text.clone());
        differs.then(|| LockChange { name: key.1.clone(), before: text(was), after: text(is), wanted_by })
    };
    keys.into_iter().filter_map(change).collect()
}

struct Row {
    text: String,
    /// What may differ though the text is the same.
    identity: Option<Digest>,
    wanted_by: BTreeSet<GroupName>,
}

fn rows(lock: &Lock) -> BTreeMap<(u8, String), Row> {
    let suites = lock.suites.values().map(|suite| {
        let row = Row { text: suite.date.rfc3339(), identity: None, wanted_by: BTreeSet::new() };
        ((0, suite.name.to_string()), row)
    });
    let inputs = lock.inputs.values().map(|input| {
        let row = Row { text: input.version.to_string(), identity: None, wanted_by: BTreeSet::new() };
        ((1, input.component.to_string()), row)
    });
    let packages = lock.packages.values().map(|package| {
        let text = package.version.to_string();
        let row = Row { text, identity: Some(package.sha256), wanted_by: package.wanted_by.clone() };
        ((2, package.name.to_string()), row)
    });
    let sources = lock.sources.values().map(|source| {
        let row = Row { text: source.version.to_string(), identity: None, wanted_by: BTreeSet::new() };
        ((3, source.name.to_string()), row)
    });
    suites.chain(inputs).chain(packages).chain(sources).collect()
}
