//! Listening sockets by `/proc/net`, against the role's table. A socket belongs to whom has it open.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::fault::Result;
use crate::node::Node;
use crate::role::{Bind, Protocol};

use super::Evidence;

/// What listens.
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
        let text = fs::read_to_string(node.world.path(&format!("/proc/net/{name}"))).unwrap_or_default();
        listeners.extend(text.lines().filter_map(|line| parse(line, protocol)));
    }
    let told = |listener: &Listener| {
        let program = owners.get(&listener.inode).map_or("(the kernel)", String::as_str);
        let at = format!("{}:{}", listener.address, listener.port);
        (!allowed(node, listener, program)).then(|| format!("{program} on {at}, {:?}", listener.protocol))
    };
    let exceptions = listeners.iter().filter_map(told).collect();
    Ok(Evidence::new(exceptions, format!("{} sockets", listeners.len())))
}

fn allowed(node: &Node, listener: &Listener, program: &str) -> bool {
    let bound = match listener.address {
        address if address.is_loopback() => Bind::Loopback,
        IpAddr::V4(address) if node.role.cluster.subnet.contains(&address) => Bind::Subnet,
        _ => Bind::Every,
    };
    node.role.sockets.iter().any(|socket| {
        // comm has 15 bytes.
        let name: String = socket.program.chars().take(15).collect();
        let port = socket.port.is_none_or(|port| port == listener.port);
        name == program && socket.protocol == listener.protocol && port && bound <= socket.bind
    })
}

/// A line of proc_net_tcp(5): local address, state 0A (listen) or for UDP 07 (unconnected), inode.
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

/// The kernel prints each 32-bit word of an address in the machine's order.
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

/// Program by socket inode. systemd holds sockets for others, so a later holder wins over process 1.
fn owners(node: &Node) -> BTreeMap<u64, String> {
    let mut owners = BTreeMap::new();
    let mut pids: Vec<u32> = fs::read_dir(node.world.path("/proc"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    for pid in pids {
        let comm = fs::read_to_string(node.world.path(&format!("/proc/{pid}/comm"))).unwrap_or_default();
        let open = fs::read_dir(node.world.path(&format!("/proc/{pid}/fd"))).into_iter().flatten().flatten();
        for link in open.filter_map(|entry| fs::read_link(entry.path()).ok()) {
            let inode =
                link.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                owners.insert(inode, comm.trim().to_owned());
            }
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use crate::identity::Identity;
    use crate::role::Role;
    use crate::world::World;

    /// Evidence for one listening TCP socket of a program.
    fn exceptions(program: &str, local: &str) -> Vec<String> {
        let role = Role::parse(include_str!("../../examples/role.toml")).unwrap();
        let (world, identity) = (Fake::of(&role, "10.0.3.1"), Identity::default());
        let line =
            format!("   0: {local} 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 4711 1\n");
        world.make("/proc/net/tcp", &format!("  sl  local_address rem_address   st\n{line}"));
        world.make("/proc/77/comm", program);
        world.make("/proc/77/fd/", "");
        std::os::unix::fs::symlink("socket:[4711]", world.path("/proc/77/fd/3")).unwrap();
        let node = Node::new(&world, &role, &identity).unwrap();
        check(&node).unwrap().exceptions
    }

    #[test]
    fn what_listens_must_be_in_the_table_where_it_listens() {
        let check = |program: &str, local: &str, allowed: bool| {
            assert_eq!(exceptions(program, local).is_empty(), allowed, "{program} {local}");
        };
        check("kube-apiserver", "00000000:192B", true);
        check("kubelet", "0103000A:280A", true);
        check("kubelet", "00000000:280A", false);
        check("kubelet", "0100007F:2808", true);
        check("kubelet", "0103000A:2808", false);
        check("crio", "0100007F:9999", true);
        check("crio", "0103000A:9999", false);
        check("nc", "0100007F:280A", false);
        assert_eq!(exceptions("nc", "0103000A:0016"), ["nc on 10.0.3.1:22, Tcp"]);
    }

    #[test]
    fn addresses_are_read_as_the_kernel_prints_them() {
        let address = |text: &str| parse_address(text).map(|address| address.to_string());
        assert_eq!(address("00000000000000000000000001000000").as_deref(), Some("::1"));
        assert_eq!(address("0000000000000000FFFF00000100007F").as_deref(), Some("127.0.0.1"));
        assert_eq!((address("0100007"), address("")), (None, None));
    }
}
