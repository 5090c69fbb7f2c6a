use proptest::prelude::*;

use super::*;

const MASTER: &str = include_str!("../../examples/master.toml");
const NODE: &str = include_str!("../../examples/node.toml");

fn role(kind: &str) -> Role {
    let text = include_str!("../../examples/role.toml");
    Role::parse(&text.replacen("role = \"master\"", &format!("role = {kind:?}"), 1)).unwrap()
}

#[test]
fn the_examples_are_whole() {
    for (kind, text) in [("master", MASTER), ("node", NODE), ("master", "")] {
        let identity = Identity::parse("node.toml", text, &role(kind)).unwrap();
        assert!(identity.missing(&role(kind)).is_none(), "{text}");
    }
}

#[test]
fn what_is_missing_is_said_with_what_to_do() {
    let check = |kind: &str, text: &str, expect: &str| {
        let role = role(kind);
        let fault = Identity::parse("node.toml", text, &role).unwrap().missing(&role).unwrap();
        assert!(fault.to_string().contains(expect) && fault.class() == Class::Missing, "{fault}");
    };
    let without = |key: &str| NODE.lines().filter(|l| !l.starts_with(key)).collect::<Vec<_>>().join("\n");
    check("node", "", "no [join]; put there what `hale token` prints");
    check("node", &without("token"), "no join.token");
    check("node", &without("pods"), "no network.pods");
    let ca = MASTER.split("key = ").next().unwrap();
    check("master", ca, "no ca.key");
}

#[test]
fn a_wrong_file_is_refused_at_its_line() {
    let check = |kind: &str, text: &str, from: &str, to: &str, expect: &str| {
        assert!(text.contains(from), "{from}");
        let told =
            Identity::parse("node.toml", &text.replacen(from, to, 1), &role(kind)).unwrap_err().to_string();
        assert!(told.contains(expect), "{told}");
    };
    check("node", NODE, "name =", "nome =", "node.toml:2: unknown field `nome`");
    check("node", NODE, "\"10.0.3.2\"", "\"10.0.3.256\"", "node.toml:");
    check("node", NODE, "\"10.0.3.2\"", "\"10.0.4.2\"", "node.toml:9: address 10.0.4.2 is outside subnet");
    check("node", NODE, "\"10.0.3.2\"", "\"10.0.3.1\"", "is the master's");
    check("node", NODE, "10.0.3.61-", "10.0.3.2-", "which is not free");
    check("node", NODE, "10.0.3.61-10.0.3.100", "10.0.3.61-10.0.4.100", "node.toml:10: pod range");
    check("node", NODE, "10.0.3.61-", "10.0.3.60-", "overlaps 10.0.3.16-10.0.3.60");
    check("node", NODE, "bridge = \"make\"", "bridge = \"use\"", "for bridge = \"make\" alone");
    check("node", NODE, "10.0.3.1:6443", "10.0.3.1", "no endpoint");
    check("node", NODE, "10.0.3.1:6443", "10.0.3.300:6443", "no endpoint");
    check("node", NODE, "sha256:", "sha512:", "not a pin");
    check("node", NODE, "ca-pins = [", "ca-pins = [] # ", "would trust any API server");
    check("node", NODE, "abcdef.", "ABCDEF.", "not a bootstrap token");
    check("node", NODE, "node-1", "Node_1", "no node name");
    check("node", NODE, "10:00:00Z", "10:00:00+08:00", "no moment");
    check("master", NODE, "\"10.0.3.2\"", "\"10.0.3.1\"", "this is the master");
    check("node", MASTER, "An example", "One", "must never have the cluster CA's key");
    check("master", MASTER, "BEGIN RSA PRIVATE", "BEGIN CERT", "PEM");
    check("master", MASTER, "BEGIN CERTIFICATE", "BEGIN PUBLIC KEY", "PEM");
}

#[test]
fn no_secret_is_shown_or_written_back() {
    for (kind, text, secret) in [("master", MASTER, "RSA PRIVATE"), ("node", NODE, "0123456789abcdef")] {
        let identity = Identity::parse("node.toml", text, &role(kind)).unwrap();
        assert!(text.contains(secret) && !format!("{identity:?}").contains(secret));
        let wiped = identity.wiped().unwrap();
        assert!(!wiped.contains(secret), "{wiped}");
        assert!(Identity::parse("node.toml", &wiped, &role(kind)).unwrap().missing(&role(kind)).is_some());
    }
    let told = Identity::parse("node.toml", &NODE.replace("abcdef.", "abcdef-"), &role("node")).unwrap_err();
    assert!(!told.to_string().contains("0123456789abcdef"), "{told}");
}

/// A secret is one however its key is written; of a file that is no TOML each line counts.
#[test]
fn a_secret_is_seen_in_every_spelling() {
    let check = |text: &str, expect: bool| assert_eq!(holds_secret(text), expect, "{text}");
    for text in [
        "[join]\ntoken = 'x'",
        "[join]\n\"token\" = 'x'",
        "join.token = 'x'",
        "join = { ca-pins = [], token = 'x' }",
        "['ca']\n  key='x'",
        "[kube-proxy]\nkubeconfig = \"\"\"\nx\"\"\"",
        "[join\ntoken = 'x'",
    ] {
        check(text, true);
    }
    check("[join]\ntaken = ['token = x']\n# token = x", false);
    check("name = \"\"\"\ntoken = 'x'\"\"\"", false);
    check("", false);
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*") {
        crate::fuzz::identity(&text);
    }

    /// The example with some of its lines doubled, dropped, cut short or spoilt.
    #[test]
    fn a_spoilt_file_is_refused_or_read_without_a_secret_left_over(
        spoils in prop::collection::vec((0..NODE.lines().count(), 0usize..4, 0usize..30, "\\PC"), 0..5)
    ) {
        let mut lines: Vec<String> = NODE.lines().map(str::to_owned).collect();
        for (at, how, column, by) in spoils {
            let at = at.min(lines.len() - 1);
            let column = lines[at].char_indices().nth(column).map_or(lines[at].len(), |(index, _)| index);
            match how {
                0 => lines.push(lines[at].clone()),
                1 => lines[at].clear(),
                2 => lines[at].truncate(column),
                _ => lines[at].insert_str(column, &by),
            }
        }
        crate::fuzz::identity(&lines.join("\n"));
    }
}
