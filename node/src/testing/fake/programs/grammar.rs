//! What a release of kubeadm takes on its command line: the commands, and the flags of each.

/// By release. 1.20.2 was recorded from its own help; 1.17 is written down from its source.
const RELEASES: [(&str, &str); 2] =
    [("v1.17.", include_str!("../../../../testdata/kubeadm-1.17/commands.txt")), ("v1.20.", RECORDED)];
pub(crate) const RECORDED: &str = include_str!("../../../../testdata/kubeadm-1.20.2/commands.txt");

/// Parses commands and their flags; those that take a value end in `=`.
pub(crate) fn rows(text: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    let rows = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t'));
    rows.map(|(command, flags)| (command, flags.split(' ').collect()))
}

/// Returns what kubeadm of this version says to a command line that it does not know.
pub(crate) fn refusal(version: &str, line: &[&str]) -> Option<String> {
    let (_, text) = RELEASES.iter().find(|(release, _)| version.starts_with(release))?;
    let is_alone = |name: &str| rows(text).any(|(_, flags)| flags.contains(&name));
    let (mut command, mut given, mut words) = (Vec::new(), Vec::new(), line.iter());
    while let Some(word) = words.next() {
        let name = word.split('=').next().unwrap_or(word);
        if !word.starts_with('-') {
            command.push(*word);
            continue;
        }
        given.push(name);
        if name == *word && !is_alone(name) {
            words.next();
        }
    }
    let command = command.join(" ");
    let Some((_, flags)) = rows(text).find(|(known, _)| *known == command) else {
        return Some(format!("unknown command {command:?} for \"kubeadm\""));
    };
    // Every command takes this one.
    let is_known = |name: &str| name == "--v" || flags.iter().any(|flag| flag.trim_end_matches('=') == name);
    given.into_iter().find(|name| !is_known(name)).map(|name| format!("unknown flag: {name}"))
}

#[test]
fn what_one_release_has_another_refuses() {
    let check = |version: &str, line: &str, expect: Option<&str>| {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(refusal(version, &words).as_deref(), expect, "{version}: {line}");
    };
    check("v1.17.17", "alpha certs renew all", None);
    check("v1.17.17", "certs renew all", Some("unknown command \"certs renew all\" for \"kubeadm\""));
    check("v1.20.2", "certs renew all", None);
    let user = |flag: &str| format!("alpha kubeconfig user --client-name x {flag} y");
    check("v1.17.17", &user("--config"), Some("unknown flag: --config"));
    check("v1.17.17", &user("--cert-dir"), None);
    check("v1.20.2", &user("--config"), None);
    check("v1.20.2", &user("--cert-dir"), Some("unknown flag: --cert-dir"));
    for version in ["v1.17.17", "v1.20.2"] {
        check(version, "init phase bootstrap-token --skip-token-print --config x", None);
        check(version, "--kubeconfig x token create --ttl 1h", None);
        check(version, "join --config x --v=1 --ignore-preflight-errors=Swap", None);
        check(version, "init phase etcd local --confg x", Some("unknown flag: --confg"));
        check(version, "init phase dns", Some("unknown command \"init phase dns\" for \"kubeadm\""));
    }
}
