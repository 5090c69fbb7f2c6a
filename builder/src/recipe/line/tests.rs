use super::*;

const LINE: &str = include_str!("../../../../recipes/lines/1.17.toml");

fn parse(text: &str) -> Result<Line> {
    Line::parse(LineName::new("1.17")?, SourceText::new("recipes/lines/1.17.toml", text))
}

#[test]
fn the_shipped_line_needs_what_1_17_needs() {
    let line = parse(LINE).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        line.needs(&line.versions()).into_iter().collect::<Vec<_>>(),
        [Need::Shim, Need::CgroupV1, Need::NoCrioWipe]
    );
    assert_eq!(line.apparmor_profile(&line.versions()), "crio-default-1.17.4");
    assert_eq!(line.package_version().unwrap().as_str(), "1.17.17+hale1");
    let crun_13 =
        parse(&LINE.replacen("[pins.crun]\nversion = \"1.17\"", "[pins.crun]\nversion = \"0.13\"", 1));
    assert!(crun_13.unwrap_err().to_string().contains("refused by rule `old-crun`"));
    let crio_5 = LINE.replacen("[pins.cri-o]\nversion = \"1.17.4\"", "[pins.cri-o]\nversion = \"1.17.5\"", 1);
    let crio_5 = parse(&crio_5).unwrap();
    assert_eq!(crio_5.apparmor_profile(&crio_5.versions()), "crio-default-1.17.5");
    assert!(!crio_5.needs(&crio_5.versions()).contains(&Need::NoCrioWipe));
}

/// A line with one thing changed, and what is said about it: the line number is that of the change unless a
/// rule is what refuses.
#[test]
fn a_wrong_line_is_refused() {
    let table = [
        (
            "[pins.kubelet]\nversion = \"1.17.17\"",
            "[pins.kubelet]\nversion = \"1.17.4\"",
            "rule `old-kubernetes`",
        ),
        ("at-least = \"3.4.21\"", "at-least = \"3.4.3\"", "rule `old-etcd`"),
        (
            "[pins.cni-plugins]\nversion = \"0.8.7\"",
            "[pins.cni-plugins]\nversion = \"0.8.5\"",
            "CVE-2020-10749",
        ),
        ("    \"systemd.unified_cgroup_hierarchy=0\",\n", "", "needs the legacy cgroups"),
        ("\"console=tty0\"", "\"console=tty0 quiet\"", "not an argument of the kernel"),
        ("revision = 1", "revision = 0", "counts from 1"),
        ("revision = 1", "revison = 1", "unknown key `revison`"),
        ("named-by = \"kubelet\"", "named-by = \"kublet\"", "no pin for `kublet`"),
        ("arch = \"amd64\"", "arch = \"x86_64\"", "not an architecture"),
        ("\"bookworm-updates\"", "\"bookworm\"", "stands here twice"),
        ("at-least = \"2.0.15\"", "version = \"2.0.15\"\nat-least = \"2.0.15\"", "is none we know"),
        ("when = [\"kubelet < 1.17.17\"]", "when = [\"kubelet <= 1.17.17\"]", "not a condition"),
        ("when = [\"kubelet < 1.17.17\"]", "when = []", "has no condition"),
        ("when = [\"kubelet < 1.17.17\"]", "when = [\"kublet < 1.17.17\"]", "no pin for `kublet`"),
        ("needs = \"shim\"", "needs = \"a shim\"", "unknown value `a shim`"),
        ("[overrides]\n", "[overrides]\nshim = \"because\"\n", "unknown key `shim`"),
        ("[overrides]\n", "[overrides]\nold-etcd = \" \"\n", "without a reason"),
    ];
    for (from, to, what) in table {
        assert!(LINE.contains(from), "{from}");
        let fault = parse(&LINE.replacen(from, to, 1)).expect_err(to);
        assert!(fault.to_string().contains(what), "{to}: {fault}");
        assert!(fault.place().is_some_and(|place| place.line() > 1), "{to}: {fault}");
    }
}

#[test]
fn an_override_needs_its_reason() {
    let old =
        LINE.replacen("[pins.kubelet]\nversion = \"1.17.17\"", "[pins.kubelet]\nversion = \"1.17.4\"", 1);
    let fault = parse(&old).unwrap_err();
    assert!(fault.help_text().is_some_and(|help| help.contains("[overrides]")), "{fault}");
    let allowed = old.replacen(
        "[overrides]\n",
        "[overrides]\nold-kubernetes = \"to compare with the first report\"\n",
        1,
    );
    let allowed = parse(&allowed).unwrap();
    let told = allowed.overridden(&allowed.versions());
    let told = told.iter().find(|(rule, ..)| *rule == "old-kubernetes").unwrap();
    assert!(told.1.starts_with("every earlier 1.17") && told.2.starts_with("to compare"), "{told:?}");
    // It is said of what it is about, and of nothing else.
    let pinned = parse(LINE).unwrap();
    assert!(pinned.overridden(&pinned.versions()).iter().all(|(rule, ..)| *rule != "old-kubernetes"));
}

/// What was published of the pinned patch levels and is open in them (Kubernetes' official feed of vulnerabilities) is
/// a rule of each line, with a reason why it is taken; with the release that mends it, nothing is said any more.
#[test]
fn what_is_open_in_a_shipped_line_is_said() {
    let lines = [("1.17", LINE), ("1.20", include_str!("../../../../recipes/lines/1.20.toml"))];
    let open = "2021-25735 2021-25737 2021-25741 2022-3162 2022-3172 2023-2431 2024-10220";
    for (name, text) in lines {
        let line = Line::parse(LineName::new(name).unwrap(), SourceText::new("line.toml", text)).unwrap();
        let told = line.overridden(&line.versions());
        for hole in open.split(' ') {
            assert!(told.iter().any(|(_, because, _)| because.contains(hole)), "{name}: {hole}: {told:?}");
        }
        let mut mended = line.versions();
        for component in ["kubelet", "kube-apiserver"] {
            mended.insert(ComponentName::new(component).unwrap(), Version::new("1.28.12").unwrap());
        }
        assert_eq!(line.overridden(&mended), [], "{name}");
    }
}

#[test]
fn a_rejected_checksum_is_refused_wherever_it_is_pinned() {
    let rejected =
        LINE.lines().find(|line| line.contains("0.19")).and_then(|line| line.split('"').nth(1)).unwrap();
    let crun = LINE.find("[pins.crun]").unwrap();
    let start = crun + LINE[crun..].find("sha256:").unwrap();
    let mut broken = LINE.to_owned();
    broken.replace_range(start..start + rejected.len(), rejected);
    let fault = parse(&broken).unwrap_err();
    assert!(fault.to_string().contains("a rejected checksum"), "{fault}");
    assert_eq!(fault.place().unwrap().span.start, start - 1);
}

#[test]
fn what_was_handed_over_is_under_the_same_rules() {
    let line = parse(LINE).unwrap();
    let with = |name: &str, version: &str| {
        let mut versions = line.versions();
        versions.insert(ComponentName::new(name).unwrap(), Version::new(version).unwrap());
        versions
    };
    for (name, version, rule) in [
        ("kubelet", "1.17.4", "old-kubernetes"),
        ("etcd", "3.4.3", "old-etcd"),
        ("crun", "0.13", "old-crun"),
        ("crun", "1.18", "crun-without-cgroup-v1"),
    ] {
        let fault = line.check(&with(name, version)).unwrap_err();
        assert!(fault.what().contains(&format!("refused by rule `{rule}`")), "{fault}");
    }
    // A line that pins what needs no legacy cgroups, and is handed what does.
    let modern = LINE.replacen("[pins.cri-o]\nversion = \"1.17.4\"", "[pins.cri-o]\nversion = \"1.20.0\"", 1);
    let modern = modern.replacen("    \"systemd.unified_cgroup_hierarchy=0\",\n", "", 1);
    let modern = parse(&modern.replace("kubelet < 1.19", "kubelet < 1.17")).unwrap();
    assert!(modern.check(&modern.versions()).is_ok());
    let fault = modern.check(&with("cri-o", "1.17.4")).unwrap_err();
    assert!(fault.what().contains("needs the legacy cgroups"), "{fault}");
    let later = with("cri-o", "1.18.4");
    assert!(line.check(&later).is_ok());
    assert_eq!(line.apparmor_profile(&later), "crio-default-1.18.4");
    assert!(!line.needs(&later).contains(&Need::Shim));
}
