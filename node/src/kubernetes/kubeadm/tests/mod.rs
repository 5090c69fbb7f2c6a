//! kubeadm 1.20.2 at hand: a real one that `HALE_KUBEADM` names (linked statically; it is run in a chroot), or
//! what one was recorded to do, in `node/testdata/kubeadm-1.20.2/`. The assertions are the same for both.
//! `HALE_RECORD=1` beside the real one records anew.

use std::path::{Path, PathBuf};

use super::*;
use crate::config::node::NodeConfig;
use crate::config::role::RoleConfig;
use crate::host::{Host, RealHost, files};
use crate::testing::fake::{FakeHost, grammar, recorded};

mod cis;

fn role() -> RoleConfig {
    let text = include_str!("../../../../examples/role.toml");
    RoleConfig::parse(&text.replacen("\"1.17.17\"", "\"1.20.2\"", 1)).unwrap()
}

/// A master with the kubeadm at hand.
fn machine(role: &RoleConfig) -> FakeHost {
    let mut fake = FakeHost::of(role, "10.0.3.1");
    fake.kubeadm = std::env::var_os("HALE_KUBEADM").map(PathBuf::from);
    match &fake.kubeadm {
        Some(program) => eprintln!("the real kubeadm {}", program.display()),
        None => eprintln!("no HALE_KUBEADM: the recorded kubeadm 1.20.2"),
    }
    fake.make("/var/lib/hale/first-token", "abcdef.0123456789abcdef");
    fake
}

/// Holds a text against the recorded one.
fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/kubeadm-1.20.2").join(name);
    if std::env::var_os("HALE_RECORD").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let recorded = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, recorded, "{name}: record anew with HALE_KUBEADM=… HALE_RECORD=1");
}

#[test]
fn each_phase_writes_what_was_recorded() {
    let (role, config) = (role(), NodeConfig::default());
    let fake = machine(&role);
    let node = Node::new(&fake, &role, &config).unwrap();
    let configuration = config::init(&node, PKI).unwrap();
    // What was recorded counts for what kubeadm is told, and for nothing else.
    compare("init.yaml", &configuration);
    for phase in ["certs all", "kubeconfig all", "control-plane all", "etcd local", "kubelet-start"] {
        let before = fake.tree();
        init_phases(&node, &[&phase.split(' ').collect::<Vec<_>>()]).unwrap();
        let line = |(path, what): (String, String)| {
            let slash = if what.starts_with('d') { "/" } else { "" };
            format!("{} /{path}{slash}", &what[2..6])
        };
        let ours = |path: &str| ["run", "usr", "var/lib/hale", "tmp"].iter().any(|top| path.starts_with(top));
        let new = fake.tree().into_iter().filter(|(path, _)| !before.contains_key(path) && !ours(path));
        let expect: Vec<String> = recorded(phase).map(|(mode, path)| format!("{mode:04o} {path}")).collect();
        assert_eq!(new.map(line).collect::<Vec<_>>(), expect, "{phase}");
    }
    for (name, path) in [("config.yaml", "/var/lib/kubelet"), ("kubeadm-flags.env", "/var/lib/kubelet")] {
        compare(name, &files::need(&fake, &format!("{path}/{name}")).unwrap());
    }
    for name in manifest::NAMES {
        compare(
            &format!("{name}.yaml"),
            &files::need(&fake, &format!("{}/{name}.yaml", manifest::DIRECTORY)).unwrap(),
        );
    }
    if let Some(program) = &fake.kubeadm {
        let row = |(command, _)| format!("{command}\t{}\n", flags(program, command));
        let head: String = grammar::RECORDED.lines().take(2).map(|line| format!("{line}\n")).collect();
        compare("commands.txt", &(head + &grammar::rows(grammar::RECORDED).map(row).collect::<String>()));
    }
    check_manifests(&node);
    check_user(&user_kubeconfig(&node, "system:kube-proxy").unwrap());
}

/// The flags of a command by its own help; those that take a value end in `=`.
fn flags(program: &Path, command: &str) -> String {
    let help = Command::new(program, &command.split(' ').chain(["--help"]).collect::<Vec<_>>());
    let help = RealHost::new(None).run_checked(&help).unwrap();
    let mut flags = Vec::new();
    let lines = help.lines().skip_while(|line| *line != "Flags:");
    for line in lines.filter(|line| line.trim_start().starts_with('-')) {
        // `-o, --output string   Its description`.
        let (names, value): (Vec<&str>, Vec<&str>) = line
            .trim()
            .split("  ")
            .next()
            .unwrap_or_default()
            .split(' ')
            .partition(|word| word.starts_with('-'));
        let end = if value.is_empty() { "" } else { "=" };
        flags.extend(names.iter().map(|name| format!("{}{end}", name.trim_end_matches(','))));
    }
    flags.sort();
    flags.join(" ")
}

fn check_manifests(node: &Node) {
    manifest::relax_probes(node).unwrap();
    assert!(manifest::are_relaxed(node).unwrap());
    let text = |name: &str| files::need(node.host, &format!("{}/{name}.yaml", manifest::DIRECTORY)).unwrap();
    let server = text("kube-apiserver");
    let says = ["--advertise-address=10.0.3.1\n", "--insecure-port=0\n"];
    says.iter().for_each(|part| assert!(server.contains(part), "{part}: {server}"));
    let etcd = text("etcd");
    let listens: Vec<&str> = etcd.lines().filter(|line| line.contains("listen-")).collect();
    assert!(listens.len() == 3 && listens.iter().all(|line| line.contains("127.0.0.1")), "{etcd}");
    for name in ["kube-scheduler", "kube-controller-manager"] {
        let text = text(name);
        for part in ["--leader-elect=false\n", "--port=0\n", "--bind-address=127.0.0.1\n"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    for name in manifest::NAMES {
        let text = text(name);
        let check = |probe: &str, expect: [&str; 2]| {
            let found = block(&text, probe);
            assert!(expect.iter().all(|line| found.contains(line)), "{name}, {probe}: {found:?}");
        };
        check("livenessProbe", ["timeoutSeconds: 60", "failureThreshold: 60"]);
        check("livenessProbe", ["initialDelaySeconds: 60", "periodSeconds: 10"]);
        check("startupProbe", ["timeoutSeconds: 60", "failureThreshold: 120"]);
    }
}

/// What stands below a container's key in a manifest, line by line.
fn block<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let head = format!("    {key}:");
    let below = text.lines().skip_while(|line| *line != head).skip(1);
    below.take_while(|line| line.starts_with("      ")).map(str::trim).collect()
}

/// The credentials themselves differ each time.
fn check_user(text: &str) {
    let cut = |line: &str| match line.split_once("-data: ") {
        Some((name, _)) => format!("{name}-data: eA==\n"),
        None => format!("{line}\n"),
    };
    compare("user.conf", &text.lines().map(cut).collect::<String>());
    assert!(text.contains("server: https://10.0.3.1:6443") && text.contains("client-key-data:"), "{text}");
}

/// Like `init.yaml` it is held against the schema of kubeadm's API by the builder's lint (`tests/tests/cli/lint.rs`).
#[test]
fn a_node_joins_with_what_was_recorded() {
    let text =
        include_str!("../../../../examples/role.toml").replacen("role = \"master\"", "role = \"node\"", 1);
    let role = RoleConfig::parse(&text).unwrap();
    let config =
        NodeConfig::parse("node.toml", include_str!("../../../../examples/node.toml"), &role).unwrap();
    let fake = FakeHost::of(&role, "10.0.3.2");
    let node = Node::new(&fake, &role, &config).unwrap();
    compare("join.yaml", &config::join(&node, config.join.as_ref().unwrap()).unwrap());
}

#[test]
fn what_kubeadm_says_at_length_is_one_line() {
    let check =
        |said: &str, expect: &str| assert!(explain(said, false).to_string().contains(expect), "{said}");
    check(
        "panic: no\n\ngoroutine 1 [running]:\nmain.main()\n\t/x/main.go:1 +0x25\n",
        "kubeadm failed: panic: no;",
    );
    check(
        "I1122 ok\nerror: x\nTo see the stack trace of this error execute with --v=5 or higher\n",
        "failed: error: x;",
    );
    check(
        "error execution phase preflight: [preflight] Some fatal errors occurred:\n\t[ERROR X]: a\n\t[ERROR Y]: b\n[preflight] If you know",
        "kubeadm refuses this machine: [X]: a, [Y]: b;",
    );
    check(
        "\t[WARNING Hostname]: lookup seed on 10.0.3.1:53: i/o timeout\n\t[ERROR FileContent]: not set to 1\n",
        "kubeadm refuses this machine: [FileContent]: not set to 1;",
    );
    check("", "it said nothing");
    // 1.17 says in its log alone why it ends.
    let discovery = |why: &str| {
        format!(
            "I0108 01:52:49.430728    2700 token.go:191] [discovery] Failed to connect to API Server \"x\": Get x: connection refused\n\
             I0108 01:52:54.430728    2700 token.go:191] [discovery] Failed to connect to API Server \"x\": {why}\n\
             error execution phase preflight: couldn't validate the identity of the API Server: abort connecting to API servers after timeout of 5m0s\n"
        )
    };
    check(
        &discovery(
            "token id \"abcdef\" is invalid for this cluster or it has expired. Use \"kubeadm token create\"",
        ),
        "does not know the bootstrap token, or it has expired; run `hale token`",
    );
    check(
        &discovery("failed to verify JWS signature of received cluster info object"),
        "with another secret; run",
    );
    check(&discovery("Get x: dial tcp 10.0.3.1:6443: i/o timeout"), "cannot be reached; check the bridge");
    // What its log tells of an earlier moment is not why it ends.
    check("I0108 01:52:49.4 2700 x.go:1] connection refused\nerror: x\n", "failed: error: x;");
}
