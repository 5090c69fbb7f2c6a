use super::*;

const SITE: &str = include_str!("../../../../recipes/site.toml");

fn parse(text: &str) -> Result<Site> {
    Site::parse(SourceText::new("recipes/site.toml", text))
}

#[test]
fn the_shipped_site_has_the_seeds_values() {
    let site = parse(SITE).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(site.network.bridge.as_str(), "lxcbr0");
    assert_eq!(site.network.subnet.to_string(), "10.0.3.0/24");
    assert_eq!(site.pods["master"].to_string(), "10.0.3.16-10.0.3.60");
    assert_eq!((site.users.first_id, site.users.count), (10_000_000, 65_536));
    assert_eq!(
        site.containers.capabilities.iter().map(Capability::as_str).collect::<Vec<_>>(),
        ["NET_BIND_SERVICE"]
    );
    assert!(site.host.swap);
}

/// The sources of a site are those of its machines, in a form that the node reads.
#[test]
fn a_site_says_where_apt_asks() {
    assert!(parse(SITE).unwrap().apt.is_empty(), "no mirror is anybody else's");
    let own = "[[apt]]\nuri = \"http://192.0.2.1/debian\"\nsuites = [\"bookworm\"]\n";
    assert_eq!(parse(&format!("{SITE}\n{own}")).unwrap().apt.len(), 1);
    for (from, to, what) in [
        ("http:", "ftp:", "no archive's address"),
        ("\"bookworm\"", "\"book worm\"", "no suite"),
        ("suites", "suite", "unknown key `suite`"),
    ] {
        let fault = parse(&format!("{SITE}\n{}", own.replace(from, to))).unwrap_err().to_string();
        assert!(fault.contains(what), "{fault}");
    }
}

/// Each wrong value: what stands there, what takes its place, what the fault says. The caret must lie on the
/// line of the change.
#[test]
fn what_makes_no_sense_is_refused_at_its_line() {
    let table = [
        ("bridge = \"lxcbr0\"", "bridge = \"a-name-too-long-0\"", "not a bridge name"),
        ("bridge = \"lxcbr0\"", "bridge = \"a/b\"", "not a bridge name"),
        ("bridge = \"lxcbr0\"", "bridge = \"\"", "not a bridge name"),
        ("bridge = \"lxcbr0\"", "bridge = 7", "invalid type"),
        ("bridge = \"lxcbr0\"", "brigde = \"lxcbr0\"", "unknown key `brigde`"),
        ("\"10.0.3.0/24\"", "\"10.0.3.0/33\"", "invalid"),
        ("\"10.0.3.0/24\"", "\"10.0.3.1/24\"", "host bits set"),
        ("\"10.0.3.0/24\"", "\"10.0.3.0/30\"", "cannot hold"),
        ("\"10.0.3.0/24\"", "\"10.0.3.0\"", "invalid"),
        ("gateway = \"10.0.3.1\"", "gateway = \"10.0.4.1\"", "not the address of a machine"),
        ("gateway = \"10.0.3.1\"", "gateway = \"10.0.3.0\"", "not the address of a machine"),
        ("gateway = \"10.0.3.1\"", "gateway = \"10.0.3.255\"", "not the address of a machine"),
        (
            "advertise-address = \"10.0.3.1\"",
            "advertise-address = \"192.0.2.1\"",
            "not the address of a machine",
        ),
        ("\"10.96.0.0/12\"", "\"10.0.0.0/12\"", "overlaps"),
        ("\"10.96.0.0/12\"", "\"10.96.0.0/8\"", "host bits set"),
        ("\"10.96.0.0/12\"", "\"11.0.0.0/8\"", "of a size"),
        ("\"cluster.local\"", "\"Cluster.local\"", "not a DNS domain"),
        ("\"cluster.local\"", "\"a..b\"", "not a DNS domain"),
        ("\"10.0.3.61-10.0.3.105\"", "\"10.0.3.60-10.0.3.105\"", "overlap"),
        ("\"10.0.3.61-10.0.3.105\"", "\"10.0.3.151-10.0.3.255\"", "leaves the network"),
        ("\"10.0.3.61-10.0.3.105\"", "\"10.0.4.1-10.0.4.9\"", "leaves the network"),
        ("\"10.0.3.16-10.0.3.60\"", "\"10.0.3.1-10.0.3.60\"", "takes the gateway's address"),
        ("\"10.0.3.16-10.0.3.60\"", "\"10.0.3.0-10.0.3.60\"", "leaves the network"),
        ("\"10.0.3.16-10.0.3.60\"", "\"10.0.3.60-10.0.3.16\"", "not an address range"),
        ("\"10.0.3.16-10.0.3.60\"", "\"10.0.3.16\"", "not an address range"),
        ("[\"*\"]", "[\"*\", \"*\"]", "`*` twice"),
        ("[\"*\"]", "[\"registry\"]", "not a registry"),
        ("[\"*\"]", "[\"https://registry.lan\"]", "not a registry"),
        ("[\"*\"]", "[\"registry.lan/\"]", "not a registry"),
        ("[\"*\"]", "[\"registry.lan/../x\"]", "not a registry"),
        ("[\"*\"]", "[\"registry.lan:99999\"]", "not a registry"),
        ("registries = [\"*\"]", "registries = \"*\"", "invalid type"),
        ("node-2 =", "Node_2 =", "not a machine's name"),
        ("first-id = 10000000", "first-id = 1000", "overlaps the system's own ids"),
        ("first-id = 10000000", "first-id = 4294901761", "past the last id"),
        ("first-id = 10000000", "first-id = 4294967296", "invalid"),
        ("first-id = 10000000", "first-id = -1", "invalid"),
        ("count = 65536", "count = 65535", "too few ids"),
        ("count = 65536", "count = \"65536\"", "invalid type"),
        ("name = \"k8s\"", "name = \"0k8s\"", "not a user name"),
        ("pids-limit = 128", "pids-limit = 1", "no container can live with"),
        ("\"NET_BIND_SERVICE\"", "\"net_bind_service\"", "not a capability"),
        ("\"NET_BIND_SERVICE\"", "\"KILL\", \"KILL\"", "twice"),
        ("swap = true", "swap = \"yes\"", "invalid type"),
    ];
    for (from, to, what) in table {
        assert!(SITE.contains(from), "{from}");
        let broken = SITE.replacen(from, to, 1);
        let fault = parse(&broken).expect_err(to);
        assert!(fault.to_string().contains(what), "{to}: {fault}");
        let place = fault.place().unwrap_or_else(|| panic!("{to}: no place"));
        let line = broken[..broken.find(to).unwrap()].lines().count();
        let overlap = what == "overlap";
        assert!(
            overlap || place.line() == line.max(1) || place.line() == line + 1,
            "{to}: line {}",
            place.line()
        );
        assert_eq!((fault.exit_code(), place.file.as_str()), (2, "recipes/site.toml"));
    }
}

#[test]
fn what_is_missing_is_named() {
    let is_key = |line: &&str| line.contains(" = ") && !line.starts_with("node-") && !line.starts_with("# ");
    for line in SITE.lines().filter(is_key) {
        let key = line.split(' ').next().unwrap();
        let without = SITE.replacen(&format!("{line}\n"), "", 1);
        match parse(&without) {
            Err(fault) => {
                assert!(fault.to_string().contains(&format!("`{key}` is missing")), "{key}: {fault}")
            }
            // Which ranges there must be is the roles' business.
            Ok(_) => assert!(["master", "node"].contains(&key), "{key}"),
        }
    }
}
