//! Listening sockets by `/proc/net`, against the role's table. A socket belongs to whom has it open, and who that is says the
//! file that it runs: any process can call itself what it likes.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::config::access::{SSH_PORT, SshListen};
use crate::config::role::{BindScope, Protocol};
use crate::fault::Result;
use crate::kubernetes::context::Node;

use super::containers;
use super::finding::Evidence;

/// A socket that listens.
#[derive(Debug, PartialEq, Eq)]
struct Listener {
    protocol: Protocol,
    address: IpAddr,
    port: u16,
    inode: u64,
}

/// The four tables; a UDP socket that is bound and not connected "listens".
const TABLES: [(&str, Protocol); 4] =
    [("tcp", Protocol::Tcp), ("tcp6", Protocol::Tcp), ("udp", Protocol::Udp), ("udp6", Protocol::Udp)];

pub(super) fn check(node: &Node) -> Result<Evidence> {
    let owners = owners(node);
    let mut listeners = Vec::new();
    for (name, protocol) in TABLES {
        let text = fs::read_to_string(node.host.path(&format!("/proc/net/{name}"))).unwrap_or_default();
        listeners.extend(text.lines().filter_map(|line| parse(line, protocol)));
    }
    let exception = |listener: &Listener| {
        let owner = owners.get(&listener.inode);
        let at = format!("{}:{}, {:?}", listener.address, listener.port, listener.protocol);
        let name = owner.map_or("(the kernel)", |owner| owner.file.as_str());
        let allowed = owner.and_then(Owner::program).is_some_and(|name| allowed(node, listener, name));
        (!allowed).then(|| format!("{name} on {at}"))
    };
    let exceptions = listeners.iter().filter_map(exception).collect();
    Ok(Evidence::new(exceptions, format!("{} sockets", listeners.len())))
}

fn allowed(node: &Node, listener: &Listener, program: &str) -> bool {
    let bound = match listener.address {
        address if address.is_loopback() => BindScope::Loopback,
        IpAddr::V4(address) if node.role.cluster.subnet.contains(&address) => BindScope::Subnet,
        _ => BindScope::Every,
    };
    is_asked_for(node, listener, bound, program)
        || node.role.sockets.iter().any(|socket| {
            let port = socket.port.is_none_or(|port| port == listener.port);
            short(&socket.program) == short(program)
                && socket.protocol == listener.protocol
                && port
                && bound <= socket.bind
        })
}

/// Returns whether this is SSH where node.toml asked for it.
fn is_asked_for(node: &Node, listener: &Listener, bound: BindScope, program: &str) -> bool {
    let scope = |listen| if listen == SshListen::Lan { BindScope::Subnet } else { BindScope::Every };
    let asked = node.config.access.as_ref().filter(|access| access.has_ssh());
    asked.is_some_and(|access| bound <= scope(access.ssh_listen))
        && program == "sshd"
        && (listener.protocol, listener.port) == (Protocol::Tcp, SSH_PORT)
}

/// Parses a line of proc_net_tcp(5): local address, state 0A (listen) or for UDP 07 (unconnected), inode.
fn parse(line: &str, protocol: Protocol) -> Option<Listener> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let listening = if protocol == Protocol::Tcp { "0A" } else { "07" };
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    if *state != listening {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Listener { protocol, address: parse_address(address)?, port, inode: inode.parse().ok()? })
}

/// Parses an address: the kernel prints each 32-bit word in the machine's order.
fn parse_address(text: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for at in (0..text.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    if let Ok(v4) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(IpAddr::V4(Ipv4Addr::from(v4)));
    }
    let v6 = Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?);
    Some(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4))
}

/// Cuts a name to 15 bytes, as `/proc/PID/comm` and the table have it.
fn short(program: &str) -> &str {
    program.get(..15).unwrap_or(program)
}

/// The process that holds a socket.
struct Owner {
    /// Path of the program that it runs.
    file: String,
    /// Whether it may be what the table means: a program of the system's, or one in a static pod.
    is_ours: bool,
}

impl Owner {
    fn of(proc: &Path) -> Self {
        let file = fs::read_link(proc.join("exe")).unwrap_or_default().to_string_lossy().into_owned();
        // Where the file was replaced, the link goes on naming it.
        let file = file.strip_suffix(" (deleted)").unwrap_or(&file).to_owned();
        let cgroup = fs::read_to_string(proc.join("cgroup")).unwrap_or_default();
        let is_ours = if containers::is_container(&cgroup) {
            containers::is_static(&cgroup)
        } else {
            ["/usr/", "/bin/", "/sbin/"].iter().any(|system| file.starts_with(system))
        };
        Self { file, is_ours }
    }

    /// Returns the program's name, if it may be one of the table's.
    fn program(&self) -> Option<&str> {
        self.file.rsplit('/').next().filter(|_| self.is_ours)
    }
}

/// Returns the owners of sockets by inode. systemd holds sockets for others, so a later holder wins over process 1.
fn owners(node: &Node) -> BTreeMap<u64, Owner> {
    let mut owners = BTreeMap::new();
    for pid in containers::pids(node).unwrap_or_default() {
        let proc = node.host.path(&format!("/proc/{pid}"));
        let open = fs::read_dir(proc.join("fd")).into_iter().flatten().flatten();
        for link in open.filter_map(|entry| fs::read_link(entry.path()).ok()) {
            let inode =
                link.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                owners.insert(inode, Owner::of(&proc));
            }
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node::NodeConfig;
    use crate::config::role::RoleConfig;
    use crate::host::Host;
    use crate::testing::fake::FakeHost;

    const STATIC: &str = "0::/kubepods-burstable-pod0123456789abcdef0123456789abcdef.slice/crio-1.scope\n";
    const POD: &str = "0::/kubepods-burstable-pod01234567_89ab_cdef_0123_456789abcdef.slice/crio-2.scope\n";
    const HOST: &str = "0::/system.slice/some.service\n";

    /// Evidence for one listening TCP socket of a program in a control group.
    fn exceptions(file: &str, cgroup: &str, local: &str) -> Vec<String> {
        let role = RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap();
        let (host, config) = (FakeHost::of(&role, "10.0.3.1"), NodeConfig::default());
        let line =
            format!("   0: {local} 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 4711 1\n");
        host.make("/proc/net/tcp", &format!("  sl  local_address rem_address   st\n{line}"));
        host.make("/proc/77/comm", "kubelet\n");
        host.make("/proc/77/cgroup", cgroup);
        host.make("/proc/77/fd/", "");
        std::os::unix::fs::symlink("socket:[4711]", host.path("/proc/77/fd/3")).unwrap();
        std::os::unix::fs::symlink(file, host.path("/proc/77/exe")).unwrap();
        let node = Node::new(&host, &role, &config).unwrap();
        check(&node).unwrap().exceptions
    }

    #[test]
    fn what_listens_must_be_in_the_table_where_it_listens() {
        let check = |file: &str, cgroup: &str, local: &str, allowed: bool| {
            assert_eq!(exceptions(file, cgroup, local).is_empty(), allowed, "{file} {local}");
        };
        check("/usr/bin/kube-apiserver", STATIC, "0103000A:192B", true);
        check("/usr/bin/kube-apiserver", STATIC, "00000000:192B", false);
        check("/usr/bin/kube-apiserver", POD, "0103000A:192B", false);
        check("/usr/bin/kubelet", HOST, "0103000A:280A", true);
        check("/usr/bin/kubelet (deleted)", HOST, "0103000A:280A", true);
        check("/usr/bin/kubelet", HOST, "00000000:280A", false);
        check("/usr/bin/kubelet", HOST, "0100007F:2808", true);
        check("/usr/bin/kubelet", HOST, "0103000A:2808", false);
        check("/usr/bin/kubelet", POD, "0103000A:280A", false);
        check("/usr/bin/crio", HOST, "0100007F:9999", true);
        check("/usr/bin/crio", HOST, "0103000A:9999", false);
        // Each calls itself kubelet.
        check("/tmp/kubelet", HOST, "0103000A:280A", false);
        check("/usr/bin/nc", HOST, "0100007F:280A", false);
        assert_eq!(exceptions("/usr/bin/nc", HOST, "0103000A:0016"), ["/usr/bin/nc on 10.0.3.1:22, Tcp"]);
    }

    /// SSH listens where node.toml asked for it, and nowhere where it did not.
    #[test]
    fn ssh_is_allowed_where_it_was_asked_for() {
        let role = RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap();
        let key = include_str!("../../testdata/access/ann.pub").trim();
        let table = format!("[access]\noperator = \"ann\"\nssh-keys = [{key:?}]\n");
        let every = format!("{table}ssh-listen = \"every\"\n");
        let check = |text: &str, program: &str, address: [u8; 4], port: u16, expect: bool| {
            let (host, config) =
                (FakeHost::of(&role, "10.0.3.1"), NodeConfig::parse("", text, &role).unwrap());
            let node = Node::new(&host, &role, &config).unwrap();
            let listener = Listener { protocol: Protocol::Tcp, address: address.into(), port, inode: 1 };
            assert_eq!(allowed(&node, &listener, program), expect, "{text}: {program} on {address:?}:{port}");
        };
        check("", "sshd", [10, 0, 3, 1], 22, false);
        check(&table, "sshd", [10, 0, 3, 1], 22, true);
        check(&table, "sshd", [0, 0, 0, 0], 22, false);
        check(&table, "sshd", [192, 0, 2, 1], 22, false);
        check(&table, "sshd", [10, 0, 3, 1], 2222, false);
        check(&table, "nc", [10, 0, 3, 1], 22, false);
        check(&every, "sshd", [0, 0, 0, 0], 22, true);
    }

    #[test]
    fn addresses_are_read_as_the_kernel_prints_them() {
        let address = |text: &str| parse_address(text).map(|address| address.to_string());
        assert_eq!(address("00000000000000000000000001000000").as_deref(), Some("::1"));
        assert_eq!(address("0000000000000000FFFF00000100007F").as_deref(), Some("127.0.0.1"));
        assert_eq!((address("0100007"), address("")), (None, None));
    }
}
