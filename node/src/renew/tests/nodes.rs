//! What the master approves of nodes, and which ranges of pods it gives: what was asked for in good faith, and all that
//! is like it. Of requests, those of `node/testdata/requests` were made by Go's crypto/x509, as the kubelet makes them
//! for `node-1` at 10.0.3.2.

use serde_json::{Value, json};

use super::flow::is_approved;
use super::*;
use crate::host::{Command, RealHost};
use crate::kubernetes::kubeadm::dialect::dialect;
use crate::renew::csr as format;
use crate::renew::form::{CLIENT, Form, SERVER};
use crate::text::base64;

const MEMBER: &str = include_str!("../../../testdata/requests/member.pem");
const SERVER_OF_NODE_1: &str = include_str!("../../../testdata/requests/server.pem");

/// A cluster of this master and a `node-1`, which has its address, and a range that was given.
fn cluster(version: &str) -> (FakeHost, RoleConfig) {
    let text =
        include_str!("../../../examples/role.toml").replacen("\"1.17.17\"", &format!("{version:?}"), 1);
    let role = RoleConfig::parse(&text).unwrap();
    let host = FakeHost::of(&role, "10.0.3.1");
    host.openssl.set(true);
    {
        let mut state = host.state.borrow_mut();
        state.objects.extend(["elsewhere", "range seed 10.0.3.16-10.0.3.60"].map(str::to_owned));
        state.enabled.extend(["crio.service".into(), "kubelet.service".into()]);
    }
    host.reboot();
    (host, role)
}

fn joined(host: &FakeHost) {
    let mut state = host.state.borrow_mut();
    state.others.insert("node-1".into(), "10.0.3.2".into());
    state.objects.insert("range node-1 10.0.3.61-10.0.3.105".into());
}

/// The object of a request as the API server has it.
fn object(role: &RoleConfig, form: &Form, user: &str, pem: &str) -> Value {
    let mut object = format::object(dialect(role.kubernetes.minor()), form, "csr-1", pem);
    object["spec"]["username"] = user.into();
    object
}

/// Whether the master approves it.
fn approves(host: &FakeHost, role: &RoleConfig, object: Value) -> bool {
    host.state.borrow_mut().requests.insert("csr-1".into(), object);
    let config = NodeConfig::default();
    approve(&Node::new(host, role, &config).unwrap()).unwrap();
    is_approved(&host.state.borrow().requests["csr-1"])
}

/// A request with a key of its own, whose names are written as Go writes them.
fn request(arguments: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("config"), "[req]\ndistinguished_name = none\nstring_mask = default\n[none]\n")
        .unwrap();
    let (config, key) = (path("config"), path("key"));
    let mut words = vec!["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    words.extend(["-config", &config, "-keyout", &key]);
    words.extend(arguments.split(' '));
    RealHost::new(None)
        .run_checked(&Command::new("/usr/bin/openssl", &words))
        .expect("openssl: Debian's package openssl")
}

const SUBJECT: &str = "-subj /O=system:nodes/CN=system:node:node-1";

fn server() -> Form {
    Form::Server("node-1".parse().unwrap(), [10, 0, 3, 2].into())
}

#[test]
fn a_kubelet_is_a_server_under_its_own_name_and_address() {
    for version in ["1.17.17", "1.20.2"] {
        let check = |expect: bool, pem: &str, change: &dyn Fn(&FakeHost, &mut Value)| {
            let (host, role) = cluster(version);
            joined(&host);
            let mut object = object(&role, &server(), "system:node:node-1", pem);
            change(&host, &mut object);
            let message = object.to_string();
            assert_eq!(approves(&host, &role, object), expect, "{version}: {pem} {message}");
        };
        let as_go_makes_it =
            |expect: bool, change: &dyn Fn(&FakeHost, &mut Value)| check(expect, SERVER_OF_NODE_1, change);
        as_go_makes_it(true, &|_, _| {});
        as_go_makes_it(true, &|_, object| {
            object["spec"]["usages"] = json!([SERVER[2], SERVER[0], SERVER[1]])
        });
        as_go_makes_it(false, &|_, object| object["spec"]["usages"] = json!(CLIENT));
        as_go_makes_it(false, &|_, object| {
            object["spec"]["usages"] = json!([SERVER[0], SERVER[1], SERVER[2], "any"])
        });
        as_go_makes_it(false, &|_, object| {
            object["spec"]["usages"] = json!([SERVER[0], SERVER[1], SERVER[2], 1])
        });
        as_go_makes_it(false, &|_, object| object["spec"]["usages"] = json!(SERVER[1..]));
        as_go_makes_it(false, &|_, object| {
            object["spec"]["signerName"] = "kubernetes.io/legacy-unknown".into()
        });
        as_go_makes_it(false, &|_, object| object["spec"]["username"] = "system:node:seed".into());
        as_go_makes_it(false, &|_, object| object["spec"]["username"] = "system:node:node-2".into());
        as_go_makes_it(false, &|_, object| object["status"] = json!({"conditions": [{"type": "Denied"}]}));
        // Its address is nobody else's, and none of the network's own; its range was given.
        let at = |address: &'static str| {
            move |host: &FakeHost, _: &mut Value| {
                drop(host.state.borrow_mut().others.insert("node-1".into(), address.into()))
            }
        };
        for address in ["10.0.3.3", "10.0.4.2", "10.0.3.2 10.0.3.3", ""] {
            as_go_makes_it(false, &at(address));
        }
        as_go_makes_it(false, &|host, _| {
            drop(host.state.borrow_mut().others.insert("node-2".into(), "10.0.3.2".into()))
        });
        as_go_makes_it(false, &|host, _| {
            host.state.borrow_mut().objects.insert("range node-2 10.0.3.2-10.0.3.9".into());
        });
        as_go_makes_it(false, &|host, _| {
            host.state.borrow_mut().objects.remove("range node-1 10.0.3.61-10.0.3.105");
        });
        let names = |names: &str| format!("{SUBJECT} -addext subjectAltName={names}");
        let by_openssl = |expect: bool, arguments: &str| check(expect, &request(arguments), &|_, _| {});
        by_openssl(true, &names("DNS:node-1,IP:10.0.3.2"));
        by_openssl(false, SUBJECT);
        for other in [
            "IP:10.0.3.2",
            "DNS:node-1",
            "DNS:node-1,IP:10.0.3.1",
            "DNS:node-1,IP:10.0.3.2,IP:10.0.3.1",
            "DNS:node-1,DNS:seed,IP:10.0.3.2",
            "DNS:kubernetes,IP:10.0.3.2",
            "IP:10.0.3.2,DNS:node-1",
            "DNS:node-1,IP:10.0.3.2,URI:spiffe://x",
            "critical,DNS:node-1,IP:10.0.3.2",
        ] {
            by_openssl(false, &names(other));
        }
        by_openssl(false, &format!("{} -addext basicConstraints=CA:TRUE", names("DNS:node-1,IP:10.0.3.2")));
        by_openssl(false, &names("DNS:node-1,IP:10.0.3.2").replace("/O=", "/O=system:masters/O="));
        by_openssl(false, &names("DNS:node-1,IP:10.0.3.2").replace("/O=system:nodes", ""));
    }
}

/// A signature of another key's, or bytes behind the end.
#[test]
fn what_was_spoilt_on_the_way_is_left_alone() {
    let write = |der: &[u8]| {
        let text = base64::encode(der);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let label = "CERTIFICATE REQUEST";
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    };
    let check = |expect: bool, pem: &str| {
        let (host, role) = cluster("1.20.2");
        joined(&host);
        assert_eq!(
            approves(&host, &role, object(&role, &server(), "system:node:node-1", pem)),
            expect,
            "{pem}"
        );
    };
    let der = base64::of_pem(SERVER_OF_NODE_1).unwrap();
    check(true, &write(&der));
    let mut forged = der.clone();
    *forged.last_mut().unwrap() ^= 1;
    check(false, &write(&forged));
    check(false, &write(&[der.as_slice(), &[0]].concat()));
    check(false, &format!("{SERVER_OF_NODE_1}{SERVER_OF_NODE_1}"));
}

#[test]
fn a_token_makes_one_node_a_member_and_never_the_master() {
    for version in ["1.17.17", "1.20.2"] {
        let check = |words: &str, pem: &str, prepare: &dyn Fn(&FakeHost), expect: Option<&str>| {
            let (host, role) = cluster(version);
            host.state.borrow_mut().invitations.insert("abcdef".into(), words.into());
            prepare(&host);
            let form = Form::Member("node-1".parse().unwrap());
            let object = object(&role, &form, "system:bootstrap:abcdef", pem);
            assert_eq!(approves(&host, &role, object), expect.is_some(), "{version}: {words}");
            let after = host.state.borrow().invitations.get("abcdef").cloned();
            assert_eq!(after.as_deref(), Some(expect.unwrap_or(words)), "{version}");
        };
        let alone = |_: &FakeHost| {};
        let taken = "hale: was taken by node-1";
        check("hale: invites a new node", MEMBER, &alone, Some(taken));
        check("hale: invites node-1", MEMBER, &alone, Some(taken));
        check(taken, MEMBER, &alone, Some(taken));
        let with_pods = "hale: invites node-1 with pods 10.0.3.61-10.0.3.70";
        check(with_pods, MEMBER, &alone, Some("hale: was taken by node-1 with pods 10.0.3.61-10.0.3.70"));
        // Who is there already comes again only when it was named.
        check("hale: invites node-1", MEMBER, &joined, Some(taken));
        check("hale: invites a new node", MEMBER, &joined, None);
        check("hale: invites node-2", MEMBER, &alone, None);
        check("hale: was taken by node-2", MEMBER, &alone, None);
        check("", MEMBER, &alone, None);
        check("The default bootstrap token generated by 'kubeadm init'.", MEMBER, &alone, None);
        let other = |arguments: &str| check("hale: invites a new node", &request(arguments), &alone, None);
        other("-subj /O=system:nodes/CN=system:node:seed");
        other("-subj /O=system:masters/CN=system:node:node-1");
        other("-subj /O=system:nodes/CN=system:node:node-1/O=system:masters");
        other("-subj /O=system:nodes/CN=node-1");
        other("-subj /O=system:nodes/CN=system:node:NODE-1");
        other(&format!("{SUBJECT} -addext subjectAltName=DNS:node-1"));
        check("hale: invites node-1", &request(SUBJECT), &alone, Some(taken));
        // Even where somebody wrote the master's name into a token.
        check("hale: invites seed", &request("-subj /O=system:nodes/CN=system:node:seed"), &alone, None);
    }
}

/// With its certificate as a server it has all that it needs, and nobody can come with its token any more.
#[test]
fn a_token_ends_when_its_node_is_there() {
    let (host, role) = cluster("1.20.2");
    host.state.borrow_mut().invitations.insert("abcdef".into(), "hale: invites a new node".into());
    let form = Form::Member("node-1".parse().unwrap());
    assert!(approves(&host, &role, object(&role, &form, "system:bootstrap:abcdef", MEMBER)));
    let second = request("-subj /O=system:nodes/CN=system:node:node-2");
    assert!(!approves(&host, &role, object(&role, &form, "system:bootstrap:abcdef", &second)));
    joined(&host);
    assert!(approves(&host, &role, object(&role, &server(), "system:node:node-1", SERVER_OF_NODE_1)));
    assert!(host.state.borrow().invitations.is_empty());
    // Who was invited once more, or tries once more, begins anew: its range is to be given again.
    for words in ["hale: invites node-1", "hale: was taken by node-1"] {
        joined(&host);
        host.state.borrow_mut().invitations.insert("fedcba".into(), words.into());
        assert!(approves(&host, &role, object(&role, &form, "system:bootstrap:fedcba", MEMBER)));
        let is_range = |object: &String| object.starts_with("range node-1 ");
        assert!(!host.state.borrow().objects.iter().any(is_range), "{words}");
    }
}

/// A node's own word on its pods' addresses is judged once, and then no other word of it counts.
#[test]
fn ranges_are_given_by_the_master() {
    let given = |claim: &str, prepare: &dyn Fn(&FakeHost)| {
        let (host, role) = cluster("1.20.2");
        prepare(&host);
        host.state.borrow_mut().claims.insert("node-1".into(), claim.into());
        let config = NodeConfig::default();
        approve(&Node::new(&host, &role, &config).unwrap()).unwrap();
        let state = host.state.borrow();
        let range = state.objects.iter().find_map(|object| object.strip_prefix("range node-1 "));
        range.map(str::to_owned)
    };
    let check = |claim: &str, is_given: bool| {
        assert_eq!(given(claim, &|_| {}).as_deref(), is_given.then_some(claim), "{claim}");
    };
    check("10.0.3.61-10.0.3.105", true);
    check("10.0.3.61-10.0.3.61", true);
    check("10.0.3.61-10.0.3.106", false); // Longer than the master's.
    check("10.0.3.1-10.0.3.254", false);
    check("10.0.3.60-10.0.3.70", false); // The master's last.
    check("10.0.3.1-10.0.3.15", false); // The gateway.
    check("10.0.3.250-10.0.3.255", false);
    check("10.0.4.61-10.0.4.70", false);
    check("nonsense", false);
    let invited = |pods: &'static str| {
        move |host: &FakeHost| {
            let words = format!("hale: was taken by node-1 with pods {pods}");
            host.state.borrow_mut().invitations.insert("abcdef".into(), words);
        }
    };
    assert!(given("10.0.3.61-10.0.3.150", &invited("10.0.3.61-10.0.3.150")).is_some(), "it was told so");
    assert!(given("10.0.3.61-10.0.3.70", &invited("10.0.3.61-10.0.3.150")).is_none(), "it was told another");
    let has = |host: &FakeHost| {
        host.state.borrow_mut().objects.insert("range node-1 10.0.3.61-10.0.3.70".into());
    };
    assert_eq!(
        given("10.0.3.100-10.0.3.140", &has).as_deref(),
        Some("10.0.3.61-10.0.3.70"),
        "once and for all"
    );
    let other =
        |host: &FakeHost| drop(host.state.borrow_mut().others.insert("node-2".into(), "10.0.3.70".into()));
    assert_eq!(given("10.0.3.61-10.0.3.105", &other), None, "another node's address is in it");
}

/// The approver ends when nobody is invited any more, and not before.
#[test]
fn the_approver_ends_with_the_last_invitation() {
    let (host, role) = cluster("1.20.2");
    let config = NodeConfig::default();
    let node = Node::new(&host, &role, &config).unwrap();
    approve_the_invited(&node).unwrap();
    joined(&host);
    host.state.borrow_mut().invitations.insert("abcdef".into(), "hale: was taken by node-1".into());
    assert!(approve(&node).unwrap(), "it has not asked for all that it needs");
    let request = object(&role, &server(), "system:node:node-1", SERVER_OF_NODE_1);
    host.state.borrow_mut().requests.insert("csr-1".into(), request);
    let begun = host.now();
    approve_the_invited(&node).unwrap();
    assert!(host.now() == begun && host.state.borrow().invitations.is_empty());
}
