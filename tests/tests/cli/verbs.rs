//! Every verb on a good day: what it says, in words and as JSON, and where it puts what it makes.

use std::fs;
use std::path::Path;

use builder::base::name::LineName;
use builder::host::checkout::Project;
use serde_json::Value;
use tests::checkout;
use tests::cli::TestCheckout;
use tests::tools::{put, succeed, tool};

const LINE: &str = "recipes/lines/1.17.toml";

/// Each line of standard output is JSON; the last one is given.
#[track_caller]
fn json(checkout: &TestCheckout, words: &[&str]) -> Value {
    let text = checkout.succeeds(&[words, &["--json"]].concat());
    match serde_json::from_str(&text) {
        Ok(value) => value,
        Err(_) => {
            let parse = |line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{words:?}: {error}: {line}"))
            };
            text.lines().map(parse).next_back().unwrap_or_else(|| panic!("{words:?} said nothing"))
        }
    }
}

/// Every verb that needs neither network nor machine, for people and for machines.
#[test]
fn every_verb_on_a_good_day() {
    let checkout = TestCheckout::with_program();
    let (master, node) = (checkout.root().join("dist/master"), checkout.root().join("dist/node"));
    let (master, node) = (master.to_str().unwrap(), node.to_str().unwrap());
    let built = json(&checkout, &["build", "all"]);
    assert!(Path::new(master).join("SHA256SUMS").exists(), "{built}");
    put(checkout.path("kubelet"), b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\0\0\x3e\0kubelet");
    put(checkout.path("seed/node.toml"), "");
    for words in [
        &["build", "master"][..],
        &["plan", "master"],
        &["why", "master", "image"],
        &["diff", master, node],
        &["lint"],
        &["key", "show"],
        &["repo"],
        &["input", "list"],
        &["input", "add", "kubelet", "kubelet", "--version", "1.17.17"],
        &["input", "list"],
        &["build", "components"],
        &["input", "remove", "kubelet"],
        &["verify"],
        &["gc", "--dry-run"],
        &["gc"],
        &["completions", "bash"],
    ] {
        if words == ["key", "show"] {
            assert!(json(&checkout, &["key", "new"])["fingerprint"].is_string());
        }
        json(&checkout, words);
        if !words.starts_with(&["input", "remove"]) {
            assert!(!checkout.succeeds(words).is_empty(), "{words:?} says nothing");
        }
    }
    let oracles = checkout.succeeds(&["test", "--oracles"]);
    assert!(oracles.split_whitespace().any(|package| package == "dpkg"), "{oracles}");
    let changes = json(&checkout, &["diff", master, node]);
    assert!(
        changes.as_array().is_some_and(|changes| changes.iter().any(|change| change["what"] == "hale-node"))
    );
    assert_eq!(json(&checkout, &["diff", master, master]), serde_json::json!([]));
    // What gc leaves is enough: nothing is made again.
    assert!(
        checkout.succeeds(&["build", "master"]).contains("\nmaster: 0 of "),
        "gc took what a bundle needs"
    );
}

/// What an operator hands over is under the line's rules, and is all that its component is.
#[test]
fn what_is_handed_over_is_judged() {
    let checkout = TestCheckout::new();
    put(checkout.path("program"), b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\0\0\x3e\0a program");
    let add = |name: &str, version: &str, file: &str| {
        checkout.succeeds(&["input", "add", name, file, "--version", version]);
    };
    for (name, version, rule) in [
        ("crun", "0.13", "old-crun"),
        ("crun", "1.18.2", "crun-without-cgroup-v1"),
        ("cni-plugins", "0.8.5", "spoofed-routers"),
        ("kubelet", "1.17.4", "old-kubernetes"),
    ] {
        add(name, version, "program");
        for verb in ["components", "master"] {
            let refused = checkout.refuses(&["build", verb], 2);
            for part in [&*format!("refused by rule `{rule}`"), "[overrides]"] {
                assert!(refused.contains(part), "{name} {version}, build {verb}: {refused}");
            }
        }
        if rule != "old-kubernetes" {
            checkout.succeeds(&["input", "remove", name]);
        }
    }
    checkout.edit(LINE, "[overrides]\n", "[overrides]\nold-kubernetes = \"\"\n");
    let refused = checkout.refuses(&["build", "components"], 2);
    assert!(refused.contains("without a reason"), "{refused}");
    checkout.edit(LINE, "old-kubernetes = \"\"", "old-kubernetes = \"to compare with what was\"");
    let told = checkout.succeeds(&["build", "components"]);
    assert!(told.contains("OVERRIDDEN: rule old-kubernetes: every earlier 1.17"), "{told}");
    assert!(told.contains("taken all the same: to compare with what was"), "{told}");
    assert!(checkout.root().join("dist/components/kubelet_1.17.4+hale1+local_amd64.deb").is_file());
    checkout.succeeds(&["input", "remove", "kubelet"]);
    // Half a bundle.
    put(checkout.path("crio"), fs::read(checkout.path("program")).unwrap());
    succeed(tool("tar", "tar").args(["-czf", "crio.tar.gz", "crio"]).current_dir(checkout.path(".")));
    add("cri-o", "1.17.4", "crio.tar.gz");
    let refused = checkout.refuses(&["build", "components"], 4);
    assert!(refused.contains("pinns is not in the archive"), "{refused}");
}

/// What is built of another line than the site's lies apart, and every verb looks for it there.
#[test]
fn lines_do_not_get_in_each_others_way() {
    let checkout = TestCheckout::with_program();
    let other: LineName = "1.20".parse().unwrap();
    let lock = Project::at(checkout.root()).last_lock(&other).unwrap().expect("a lock");
    checkout::carry_program(&checkout.root(), lock.epoch, &checkout.store());
    let bundles = |folder: &str| {
        let entries = fs::read_dir(checkout.root().join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("hale-node_")).collect::<Vec<_>>()
    };
    checkout.succeeds(&["build", "node"]);
    let before = checkout.state();
    checkout.succeeds(&["build", "node", "--line", "1.20"]);
    let unchanged = before.iter().filter(|(path, _)| path.starts_with(checkout.root().join("dist/node")));
    let after = checkout.state();
    assert!(unchanged.clone().count() > 10 && unchanged.clone().all(|(path, what)| after[path] == *what));
    let own = (bundles("dist/node"), bundles("dist/1.20/node"));
    let expect = |version: &str| vec![format!("hale-node_{version}+hale1_all.deb")];
    assert_eq!(own, (expect("1.17.17"), expect("1.20.2")));
    for line in ["1.17", "1.20"] {
        let why = checkout.succeeds(&["why", "node", "bundle", "--line", line]);
        assert!(why.contains("nothing changed"), "{line}: {why}");
    }
    checkout.succeeds(&["key", "new"]);
    let repo = json(&checkout, &["repo", "--line", "1.20"]);
    assert!(repo["repository"].as_str().is_some_and(|path| path.ends_with("/dist/1.20/repo")), "{repo}");
    let packages = repo["packages"].to_string();
    assert!(packages.contains("hale-node_1.20.2") && !packages.contains("hale-node_1.17"), "{packages}");
    for words in [&["vm", "node"][..], &["flash", "node", "--to", "disk"]] {
        for (line, image) in [("1.17", "dist/images/"), ("1.20", "dist/1.20/images/")] {
            let refused = checkout.refuses(&[words, &["--line", line]].concat(), 2);
            assert!(refused.contains(&format!("{image}hale-node.raw")), "{line}: {refused}");
            assert!(refused.contains(&format!("cargo xtask image node --line {line}")), "{line}: {refused}");
        }
    }
}

/// `why` names the file that somebody changed.
#[test]
fn why_names_the_file() {
    let checkout = TestCheckout::with_program();
    checkout.succeeds(&["build", "master"]);
    assert!(checkout.succeeds(&["why", "master", "bundle"]).contains("nothing changed"));
    checkout.edit("overlays/common/etc/crictl.yaml", "timeout: ", "timeout: 1");
    let why = checkout.succeeds(&["why", "master", "bundle"]);
    assert!(why.contains("etc/crictl.yaml"), "{why}");
}
