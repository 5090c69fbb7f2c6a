use std::fs;

use super::*;
use crate::config::node::NodeConfig;
use crate::config::role::RoleConfig;
use crate::host::Host;
use crate::kubernetes::api::Member;
use crate::testing::fake::FakeHost;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJtOMhWABd+kjc2gQNrYkKIk6hXqZwVB2HWWcIpSPQ5m ann@example";
const UPLINK: &str = "name = \"gate\"\n[network]\nbridge = \"make\"\n[uplink]\ninterface = \"enp0s4\"\n";

fn role(kind: &str) -> RoleConfig {
    let text = include_str!("../../examples/role.toml");
    RoleConfig::parse(&text.replacen("role = \"master\"", &format!("role = {kind:?}"), 1)).unwrap()
}

/// Does something with a machine of a role and a node.toml.
fn with<T>(kind: &str, config: &str, act: impl Fn(&FakeHost, &Node) -> T) -> T {
    let role = role(kind);
    let (host, config) =
        (FakeHost::of(&role, "10.0.3.1"), NodeConfig::parse("node.toml", config, &role).unwrap());
    act(&host, &Node::new(&host, &role, &config).unwrap())
}

fn read(host: &FakeHost, path: &str) -> String {
    fs::read_to_string(host.path(path)).unwrap_or_default()
}

/// systemd-resolved's package makes a link to a server of its own. Where nobody would answer there, it goes.
#[test]
fn a_link_to_a_name_server_that_does_not_answer_is_replaced() {
    let check = |kind: &str, bridge: &str, has_unit: bool, runs: bool, expect: &str| {
        let config = format!("name = \"n\"\n[network]\nbridge = {bridge:?}\naddress = \"10.0.3.2\"\n");
        let config = if kind == "master" { config.replace("10.0.3.2", "10.0.3.1") } else { config };
        with(kind, &config, |host, node| {
            let _ = fs::remove_file(host.path("/etc/resolv.conf"));
            std::os::unix::fs::symlink(
                "../run/systemd/resolve/stub-resolv.conf",
                host.path("/etc/resolv.conf"),
            )
            .unwrap();
            if has_unit {
                host.make("/usr/lib/systemd/system/systemd-resolved.service", "");
            }
            if runs {
                host.make("/run/systemd/resolve/stub-resolv.conf", "nameserver 127.0.0.53\n");
            }
            names::resolver(node).unwrap();
            names::resolver(node).unwrap();
            assert_eq!(read(host, "/etc/resolv.conf").lines().last(), Some(expect), "{kind} {bridge}");
        });
    };
    let gateway = "nameserver 10.0.3.1";
    check("master", "make", true, true, gateway);
    check("master", "make", true, false, gateway);
    check("node", "make", true, false, gateway);
    check("master", "use", true, false, gateway);
    // It runs, and it is its owner's.
    check("master", "use", true, true, "nameserver 127.0.0.53");
    check("node", "make", true, true, "nameserver 127.0.0.53");
}

#[test]
fn a_way_out_is_what_node_toml_says() {
    let check = |more: &str, expect: &[(&str, &str)], never: &str| {
        with("master", &format!("{UPLINK}{more}"), |_, node| {
            let texts = networkd::texts(node).unwrap();
            for (path, line) in expect {
                let text =
                    texts.iter().find(|(known, _)| known == path).unwrap().1.clone().unwrap_or_default();
                assert!(text.contains(line), "{path} has no {line:?}: {text}");
                assert!(!text.contains(never), "{path}: {text}");
                assert!(text.contains("RequiredForOnline=no\n") || !text.contains("[Match]"), "{text}");
            }
        });
    };
    let (uplink, device, card) = (networkd::UPLINK, networkd::UPLINK_DEVICE, networkd::UPLINK_CARD);
    check(
        "",
        &[
            (uplink, "Name=enp0s4\n"),
            (uplink, "DHCP=ipv4\n"),
            (uplink, "UseRoutes=no\nRoutesToDNS=no\nRoutesToNTP=no\n"),
        ],
        "MTU",
    );
    let fixed = "addresses = [\"192.0.2.2/24\", \"198.51.100.2/24\"]\ngateway = \"192.0.2.1\"\nnameservers = [\"192.0.2.53\"]\n";
    let lines = "Address=192.0.2.2/24\nAddress=198.51.100.2/24\nGateway=192.0.2.1\nDNS=192.0.2.53\n";
    check(fixed, &[(uplink, lines)], "DHCP");
    check("mtu = 1492\n", &[(uplink, "MTUBytes=1492\n")], "Address=");
    let tagged = [
        (device, "Kind=vlan\n\n[VLAN]\nId=7\n"),
        (uplink, "Name=hale-uplink\n"),
        (card, "VLAN=hale-uplink\n"),
    ];
    check("vlan = 7\n", &tagged, "MTU");
}

#[test]
fn a_way_out_that_cannot_be_one_is_refused_at_its_line() {
    let check = |kind: &str, from: &str, to: &str, expect: &str| {
        let fixed = format!("{UPLINK}addresses = [\"192.0.2.2/24\"]\ngateway = \"192.0.2.1\"\nmtu = 1500\n");
        let text = fixed.replace("make\"\n", "make\"\ninterface = \"enp0s5\"\n");
        NodeConfig::parse("node.toml", &text, &role("master")).unwrap();
        assert!(text.contains(from), "{from}");
        let message =
            NodeConfig::parse("node.toml", &text.replacen(from, to, 1), &role(kind)).unwrap_err().to_string();
        assert!(message.starts_with("node.toml:") && message.contains(expect), "{message}");
    };
    check("node", "make\"\n", "make\"\naddress = \"10.0.3.2\"\n", "[uplink] is for the master");
    check(
        "master",
        "bridge = \"make\"\ninterface = \"enp0s5\"\n",
        "",
        "[uplink] is for bridge = \"make\" alone",
    );
    let owners = "interface = \"enp0s5\"\n[uplink]\ninterface = \"enp0s4\"\naddresses = [\"192.0.2.2/24\"]\ngateway = \"192.0.2.1\"\nmtu = 1500\n";
    let alone = "open and time-servers are for bridge = \"make\" alone";
    for key in ["open = [\"80/tcp\"]", "time-servers = [\"ntp.example\"]"] {
        check("master", &format!("bridge = \"make\"\n{owners}"), &format!("{key}\n"), alone);
    }
    check("master", "enp0s4", "enp0s5", "uplink.interface enp0s5 is the cluster's own network");
    check("master", "enp0s4", "lxcbr0", "is the cluster's own network");
    check("master", "enp0s4", "en/p", "no interface name");
    check(
        "master",
        "192.0.2.2/24",
        "10.0.3.200/24",
        "10.0.3.200/24 overlaps the cluster's subnet 10.0.3.0/24",
    );
    check("master", "192.0.2.2/24", "10.0.2.2/16", "overlaps the cluster's subnet");
    check("master", "192.0.2.2/24", "10.100.0.2/24", "overlaps service-subnet 10.96.0.0/12");
    check("master", "192.0.2.2/24", "192.0.2.0/24", "is no address of a machine");
    check("master", "192.0.2.2/24", "192.0.2.255/24", "is no address of a machine");
    check("master", "192.0.2.2/24", "127.0.0.2/24", "is no address of a machine");
    check("master", "192.0.2.2/24", "192.0.2.2/33", "node.toml:");
    check(
        "master",
        "\"192.0.2.1\"",
        "\"192.0.3.1\"",
        "node.toml:8: uplink.gateway 192.0.3.1 is outside 192.0.2.2/24",
    );
    check("master", "\"192.0.2.1\"", "\"192.0.2.2\"", "uplink.gateway 192.0.2.2 is this machine itself");
    check("master", "gateway = \"192.0.2.1\"\n", "", "lead nowhere without uplink.gateway");
    check("master", "addresses = [\"192.0.2.2/24\"]\n", "", "uplink.gateway is for uplink.addresses");
    check("master", "mtu = 1500", "mtu = 575", "575 is no size of packets, 576 to 9216");
    check("master", "mtu = 1500", "mtu = 90000", "90000 is no size of packets");
    check("master", "mtu = 1500", "vlan = 0", "0 is no VLAN, 1 to 4094");
    check("master", "mtu = 1500", "vlan = 4095", "4095 is no VLAN");
    check(
        "master",
        "mtu = 1500",
        "nameservers = [\"10.0.3.1\"]",
        "uplink.nameservers 10.0.3.1 is not outside",
    );
    check("master", "make\"\n", "make\"\ntime-servers = [\"a b\"]\n", "no name or address of a time server");
    check("master", "make\"\n", "make\"\nopen = [\"0/tcp\"]\n", "no port such as 8080/tcp");
    check("master", "make\"\n", "make\"\nopen = [\"80/sctp\"]\n", "no port such as 8080/tcp");
}

#[test]
fn the_filter_opens_what_role_and_node_toml_say() {
    let check = |kind: &str, config: &str, expect: &[&str], never: &[&str]| {
        with(kind, config, |_, node| {
            let table = filter::table(node);
            assert!(expect.iter().all(|line| table.contains(line)), "{config}: {table}");
            assert!(!never.iter().any(|line| table.contains(line)), "{config}: {table}");
        });
    };
    let (lan, ssh) = (
        "set lan_tcp {\n\t\ttype inet_service\n\t\tflags interval\n\t\telements = { 6443, 10250 }",
        "{ 22 }",
    );
    check(
        "master",
        UPLINK,
        &[lan, "policy drop", "10.0.3.0/24, 10.96.0.0/12", "masquerade"],
        &[ssh, "10248"],
    );
    let access =
        |listen: &str| format!("{UPLINK}[access]\noperator = \"ann\"\nssh-keys = [{KEY:?}]\n{listen}");
    let lan_ssh = "elements = { 22, 6443, 10250 }";
    check("master", &access(""), &[lan_ssh], &[ssh]);
    check("master", &access("ssh-listen = \"every\"\n"), &[lan_ssh, ssh], &[]);
    let node = "name = \"n\"\n[network]\nbridge = \"make\"\naddress = \"10.0.3.2\"\nopen = [\"80/tcp\", \"80/udp\"]\n";
    check("node", node, &["{ 80, 6443, 10250 }", "{ 80 }", "policy drop"], &["masquerade", ssh]);
}

/// With `bridge = "use"` nothing of it is there, whatever role and name.
#[test]
fn a_machine_that_is_somebodys_is_left_alone() {
    with("master", "name = \"gate\"\n", |host, node| {
        host.make("/usr/lib/systemd/system/systemd-resolved.service", "");
        host.make("/etc/resolv.conf", "nameserver 192.0.2.1\n");
        let before = host.tree();
        apply(node).unwrap();
        names::of_members(node, &[]).unwrap();
        assert_eq!((host.tree(), host.commands.borrow().len()), (before, 0));
    });
}

#[test]
fn a_master_answers_for_names_where_its_program_is() {
    with("master", UPLINK, |host, node| {
        apply(node).unwrap();
        assert!(!host.path(relay::PATH).exists());
        host.make("/usr/lib/systemd/system/systemd-resolved.service", "");
        apply(node).unwrap();
        let text = read(host, relay::PATH);
        for line in ["DNSStubListener=no\n", "DNSStubListenerExtra=10.0.3.1\n", "LLMNR=no\n", "\nDNS=\n"] {
            assert!(text.contains(line), "{text}");
        }
        assert!(host.state.borrow().active.contains("systemd-resolved.service"));
    });
}

#[test]
fn machines_have_the_names_of_their_nodes() {
    with("master", UPLINK, |host, node| {
        apply(node).unwrap();
        assert_eq!(read(host, "/etc/hostname"), "gate\n");
        assert!(read(host, "/etc/hosts").ends_with("10.0.3.1 gate\n"), "{}", read(host, "/etc/hosts"));
        let member = |name: &str, address: &str| {
            let addresses = vec![address.parse().unwrap()];
            Member { name: name.into(), claim: None, given: None, addresses }
        };
        let members =
            [member("gate", "10.0.3.1"), member("n-1", "10.0.3.2"), member("localhost", "10.0.3.3")];
        names::of_members(node, &members).unwrap();
        let far = [member("gate", "10.0.3.1"), member("n-1", "10.0.3.2"), member("far", "192.0.2.1")];
        names::of_members(node, &far).unwrap();
        let expect = "10.0.3.1 gate\n10.0.3.2 n-1\n";
        assert!(
            read(host, "/etc/hosts").ends_with(&format!("ip6-allrouters\n{expect}")),
            "{}",
            read(host, "/etc/hosts")
        );
        // What is known stays when the network is made again.
        apply(node).unwrap();
        assert!(read(host, "/etc/hosts").ends_with(expect));
        names::of_members(node, &members[..1]).unwrap();
        assert!(read(host, "/etc/hosts").ends_with("10.0.3.1 gate\n"));
    });
    with("master", UPLINK, |host, node| {
        host.make("/etc/hosts", "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost # theirs\n");
        apply(node).unwrap();
        assert!(read(host, "/etc/hosts").ends_with("10.0.3.1 gate\n"), "{}", read(host, "/etc/hosts"));
    });
    with("master", UPLINK, |host, node| {
        host.make("/etc/hosts", "192.0.2.9 theirs\n");
        apply(node).unwrap();
        assert_eq!(read(host, "/etc/hosts"), "192.0.2.9 theirs\n");
    });
}

#[test]
fn what_the_way_out_lacks_is_said() {
    let check = |config: &str, spoil: &dyn Fn(&FakeHost), expect: &str| {
        with("master", config, |host, node| {
            host.make("/sys/class/net/enp0s4/carrier", "1\n");
            host.make("/usr/lib/systemd/system/systemd-resolved.service", "");
            host.make(uplink::SERVERS, "nameserver 10.0.2.3\n");
            host.state.borrow_mut().outside.push("10.0.2.15/24".into());
            host.state.borrow_mut().route = "default via 10.0.2.2\n".into();
            spoil(host);
            let lacks = uplink::lacks(node).unwrap().unwrap().join("\n");
            assert!(lacks.contains(expect) && lacks.is_empty() == expect.is_empty(), "{lacks}");
        });
    };
    check(UPLINK, &|_| {}, "");
    let gone = |host: &FakeHost| fs::remove_dir_all(host.path("/sys/class/net/enp0s4")).unwrap();
    check(UPLINK, &gone, "there is no interface enp0s4");
    check(UPLINK, &|host| host.make("/sys/class/net/enp0s4/carrier", "0\n"), "no carrier");
    check(UPLINK, &|host| host.state.borrow_mut().outside.clear(), "no DHCP server answers on enp0s4");
    let inside = |host: &FakeHost| host.state.borrow_mut().outside = vec!["10.0.3.9/25".into()];
    check(UPLINK, &inside, "enp0s4 got 10.0.3.9/25, which overlaps the cluster's subnet 10.0.3.0/24");
    check(UPLINK, &|host| host.state.borrow_mut().route.clear(), "enp0s4 has no gateway");
    check(UPLINK, &|host| host.make(uplink::SERVERS, "# none\n"), "names no name server");
    let fixed = format!("{UPLINK}addresses = [\"192.0.2.2/24\"]\ngateway = \"192.0.2.1\"\n");
    check(&fixed, &|_| {}, "enp0s4 does not have 192.0.2.2/24");
    let bare = "name = \"gate\"\n[network]\nbridge = \"make\"\n";
    with("master", bare, |_, node| assert_eq!(uplink::lacks(node).unwrap(), None));
}
