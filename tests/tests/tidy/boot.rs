//! What starts with a machine waits for nothing outside of it: the clock, the journal on the disk and the root's growth come after
//! `multi-user.target`, and a wrong clock can be why nothing outside answers.

use std::collections::BTreeMap;
use std::fs;

use walkdir::WalkDir;

/// Verbs of `hale` that ask the API server, for as long as it takes.
const ASKS: [&str; 4] = ["hale wait", "hale approve", "hale renew", "hale bootstrap"];

/// The units that start with the machine, each with its text.
fn started() -> BTreeMap<String, String> {
    let files = WalkDir::new(tests::checkout::top().join("overlays"))
        .into_iter()
        .map(|entry| entry.expect("an entry"));
    let services = files.filter(|entry| entry.path().extension().is_some_and(|end| end == "service"));
    let texts = services.map(|entry| {
        let text = fs::read_to_string(entry.path()).expect("a unit");
        (entry.file_name().to_string_lossy().into_owned(), text)
    });
    texts.filter(|(_, text)| text.contains("\nWantedBy=multi-user.target\n")).collect()
}

/// Commands that must end before a unit is up, by its type (systemd.service(5)).
fn awaited(text: &str) -> Vec<&str> {
    let is_oneshot = text.lines().any(|line| line == "Type=oneshot");
    let keys = ["ExecStartPre=", "ExecStartPost=", "ExecCondition="].into_iter();
    let keys: Vec<&str> = keys.chain(is_oneshot.then_some("ExecStart=")).collect();
    text.lines().filter(|line| keys.iter().any(|key| line.starts_with(key))).collect()
}

#[test]
fn no_unit_of_the_boot_waits_for_the_api_server() {
    let asks = |text: &str| awaited(text).iter().any(|line| ASKS.iter().any(|ask| line.contains(ask)));
    let units = started();
    assert!(units.len() > 4 && units.contains_key("kube-proxy.service"), "{:?}", units.keys());
    let waiting: Vec<&String> = units.iter().filter(|(_, text)| asks(text)).map(|(name, _)| name).collect();
    assert!(waiting.is_empty(), "{waiting:?}");
    // It sees one that does.
    let before = "[Service]\nExecStartPre=/usr/bin/hale wait\nExecStart=/usr/bin/kube-proxy\n";
    assert!(asks(before) && asks(&before.replace("ExecStartPre=", "Type=oneshot\nExecStart=")));
}
