//! The packet filter, loaded by the real nft in namespaces of its own: a gateway with a neighbor outside who sets routes
//! against it, a node and a pod behind it, and rules such as kube-proxy's beside it. What answers a neighbor without the
//! filter is silent with it; what the machines behind it need goes on.

use std::collections::BTreeSet;

use node::config::node::NodeConfig;
use node::config::role::{BindScope, Protocol, RoleConfig};
use node::host::RealHost;
use node::kubernetes::context::Node;
use node::network::filter;
use tests::tools::{is_root, put, succeed, tool};

/// Lays the cables, starts what listens, and does as it is told: each line of its output is a phase and what was seen.
const SCENE: &str = r#"
import os, select, socket, struct, subprocess, sys

GATE, OUTSIDE, V6 = '192.0.2.1', '192.0.2.2', '2001:db8::1'
MACS = {'gate': '02:00:00:00:00:01', 'outside': '02:00:00:00:00:02'}
PORTS = [22, 53, 6443, 8080, 10250, 30080]
UDP = [53, 8080, 9]
TARGETS = [GATE, '10.0.3.1', '10.0.3.2', '10.0.3.16', '10.96.0.10', '127.0.0.1']

def sh(*words, netns=None, **more):
    inside = ['ip', 'netns', 'exec', netns] if netns else []
    return subprocess.run([*inside, *words], check=True, text=True, capture_output=True, **more).stdout

def ip(line, netns=None):
    sh('ip', *line.split(), netns=netns)

def plug(name, netns, port):
    ip(f'link add {port} netns gate type veth peer name {name} netns {netns}')
    ip(f'link set {port} up', 'gate')
    ip(f'link set {name} up', netns)

def lay():
    for name in ['gate', 'outside', 'node', 'pod']:
        ip(f'netns add {name}')
        ip('link set lo up', name)
    ip('link add lxcbr0 type bridge', 'gate')
    ip('link set lxcbr0 up', 'gate')
    ip('address add 10.0.3.1/24 dev lxcbr0', 'gate')
    for name, address in [('node', '10.0.3.2'), ('pod', '10.0.3.16')]:
        plug('eth0', name, name)
        ip(f'link set {name} master lxcbr0', 'gate')
        ip(f'address add {address}/24 dev eth0', name)
        ip('route add default via 10.0.3.1', name)
    ip('address add 172.16.0.9/32 dev lo', 'pod')
    plug('eth0', 'outside', 'enp0s4')
    ip(f'link set enp0s4 address {MACS["gate"]}', 'gate')
    ip(f'link set eth0 address {MACS["outside"]}', 'outside')
    ip(f'address add {GATE}/24 dev enp0s4', 'gate')
    ip(f'address add {V6}/64 dev enp0s4 nodad', 'gate')
    ip(f'address add {OUTSIDE}/24 dev eth0', 'outside')
    ip('address add 2001:db8::2/64 dev eth0 nodad', 'outside')
    for line in [f'route add 10.0.3.0/24 via {GATE}', f'route add 172.16.0.0/16 via {GATE}']:
        ip(line, 'outside')
    # Known to each other, so every frame of the gateway's that comes is an answer.
    ip(f'neigh add {GATE} lladdr {MACS["gate"]} dev eth0', 'outside')
    ip(f'neigh add {OUTSIDE} lladdr {MACS["outside"]} dev enp0s4', 'gate')
    ip(f'neigh add 2001:db8::2 lladdr {MACS["outside"]} dev enp0s4', 'gate')
    ip('route add 10.96.0.0/12 dev lxcbr0', 'gate')
    ip('route add 172.16.0.9/32 via 10.0.3.16', 'gate')
    # As kube-proxy and the role's settings have it.
    sh('sysctl', '-q', '-w', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.route_localnet=1', netns='gate')
    sh('nft', '-f', '-', netns='gate', input='''
table ip nat {
    chain prerouting { type nat hook prerouting priority dstnat;
        ip daddr 10.96.0.10 tcp dport 53 dnat to 10.0.3.16:8080
        ip daddr 192.0.2.1 tcp dport 30080 dnat to 10.0.3.16:8080; }
    chain postrouting { type nat hook postrouting priority srcnat; ct status dnat masquerade; }
}
table ip filter {
    chain input { type filter hook input priority filter; accept; }
    chain forward { type filter hook forward priority filter; accept; }
}''')

# Answers with who asks, on every address, until it ends with its namespace.
SERVER = '''
import select, socket
held = []
for family, kind, port in [(f, k, p) for f in (2, 10) for k, all in ((1, TCP), (2, UDP)) for p in all]:
    s = socket.socket(family, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == 10: s.setsockopt(41, socket.IPV6_V6ONLY, 1)
    s.bind(("", port))
    if kind == 1: s.listen(64)
    held.append(s)
print("ready", flush=True)
while True:
    for s in select.select(held, [], [])[0]:
        try:
            if s.type == socket.SOCK_STREAM:
                peer, address = s.accept()
                peer.sendall(address[0].encode())
                peer.close()
            else:
                data, address = s.recvfrom(99)
                print(data.decode(), flush=True)
                s.sendto(address[0].encode(), address)
        except OSError: pass
'''

def serve(netns, tcp, udp):
    code = SERVER.replace('TCP', repr(tcp), 1).replace('UDP', repr(udp), 1)
    server = subprocess.Popen(['ip', 'netns', 'exec', netns, 'python3', '-c', code], stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == 'ready\n'
    return server

def inside(netns):
    name = os.open(f'/run/netns/{netns}', os.O_RDONLY)
    import ctypes
    assert ctypes.CDLL(None).setns(name, 0) == 0

def checksum(data):
    data += b'\0' * (len(data) % 2)
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff

# The port that a phase's questions come from; a word as long as all are.
FROM = {'without': (4000, b'first'), 'with': (4001, b'later'), 'ssh': (4002, b'later')}

def packet(protocol, source, target, port):
    v6, (own, word) = ':' in target, FROM[PHASE]
    family = socket.AF_INET6 if v6 else socket.AF_INET
    ends = socket.inet_pton(family, source) + socket.inet_pton(family, target)
    if protocol == 'tcp': number, body, at = 6, struct.pack('!HHIIBBHHH', own, port, 1, 0, 80, 2, 9999, 0, 0), 16
    elif protocol == 'udp': number, body, at = 17, struct.pack('!HHHH', own, port, 13, 0) + word, 6
    elif v6: number, body, at = 58, struct.pack('!BBHHH', 128, 0, 0, own, 7), 2
    else: number, body, at = 1, struct.pack('!BBHHH', 8, 0, 0, own, 7), 2
    pseudo = b'' if number == 1 else ends + struct.pack('!II' if v6 else '!HH', *((len(body), number) if v6 else (number, len(body))))
    body = body[:at] + struct.pack('!H', checksum(pseudo + body)) + body[at + 2:]
    if v6: return 0x86dd, struct.pack('!IHBB', 6 << 28, len(body), number, 64) + ends + body
    head = struct.pack('!BBHHHBBH', 69, 0, 20 + len(body), 1, 0, 64, number, 0) + ends
    return 0x800, head[:10] + struct.pack('!H', checksum(head)) + head[12:] + body

def mac(name): return bytes.fromhex(MACS[name].replace(':', ''))

def seen(frame):
    kind, body = struct.unpack('!H', frame[12:14])[0], frame[14:]
    if kind == 0x806: return f'arp {socket.inet_ntoa(body[14:18])}'
    v6 = kind == 0x86dd
    number, source = (body[6], socket.inet_ntop(socket.AF_INET6, body[8:24])) if v6 else (body[9], socket.inet_ntoa(body[12:16]))
    body = body[40:] if v6 else body[(body[0] & 15) * 4:]
    name = {6: 'tcp', 17: 'udp', 1: 'icmp', 58: 'icmp'}.get(number, str(number))
    if name == 'icmp':
        # An answer has the question's number; an error has the question itself in it.
        at = 4 if body[0] in (0, 129) else 48 if v6 else 28
        return f'icmp {source}' if int.from_bytes(body[at:at + 2], 'big') == FROM[PHASE][0] else None
    port, to = struct.unpack('!HH', body[:4])
    return f'{name} {source} {port}' if to == FROM[PHASE][0] or port == 7777 else None

# Everything there is to send from outside, spoofed too; then a last word of the gateway's, behind which nothing comes.
def attack(phase, servers):
    global PHASE
    PHASE = phase
    read, write = os.pipe()
    if os.fork() == 0:
        inside('outside')
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        wire.bind(('eth0', 0))
        def send(kind, body): wire.send(mac('gate') + mac('outside') + struct.pack('!H', kind) + body)
        for target in TARGETS + [V6]:
            own = '2001:db8::2' if ':' in target else OUTSIDE
            for port in PORTS: send(*packet('tcp', own, target, port))
            for port in UDP: send(*packet('udp', own, target, port))
            send(*packet('icmp', own, target, 0))
        for source in ['10.0.3.16', '10.96.0.1', '127.0.0.1']:
            for target in TARGETS: send(*packet('udp', source, target, 53))
        send(0x806, struct.pack('!HHBBH', 1, 0x800, 6, 4, 1) + mac('outside') + socket.inet_aton(OUTSIDE) + bytes(6) + socket.inet_aton('10.0.3.1'))
        os.write(write, b'x')
        wire.settimeout(60)
        found = set()
        while True:
            frame = wire.recv(2000)
            if frame[6:12] != mac('gate') or frame[0] & 1: continue
            what = seen(frame)
            if what and what.endswith(' 7777'): break
            if what: found.add(what)
        for what in sorted(found): print(phase, what, flush=True)
        os._exit(0)
    os.read(read, 1)
    # Each server has had its turn when it answers a later question.
    for netns, at in servers:
        assert ask('udp', netns, at, 8080, wait=30) is not None, (netns, at)
    sh('python3', '-c', f'import socket; s = socket.socket(2, 2); s.bind(("", 7777)); s.sendto(b"end", ("{OUTSIDE}", 9))', netns='gate')
    assert os.wait()[1] == 0

ASK = '''
import socket, sys
kind, source, target, port, wait = sys.argv[1:]
s = socket.socket(2, 1 if kind == "tcp" else 2)
s.settimeout(float(wait))
if source: s.bind((source, 0))
try:
    s.connect((target, int(port)))
    s.send(b"ask")
    print(s.recv(99).decode())
except ConnectionRefusedError: print("refused")
except OSError: print("silent")
'''

def ask(kind, netns, target, port, source='', wait=20):
    return sh('python3', '-c', ASK, kind, source, target, str(port), str(wait), netns=netns).strip()

lay()
servers = {'gate': serve('gate', PORTS[:5], [53, 8080]), 'pod': serve('pod', [8080], [8080]),
    'node': serve('node', [8080], [8080]), 'outside': serve('outside', [80], [80])}
late = [('gate', '127.0.0.1'), ('gate', '10.0.3.16'), ('gate', '10.0.3.2')]
attack('without', late)
print('bare pod', ask('tcp', 'pod', OUTSIDE, 80), flush=True)
print('bare alien', ask('udp', 'pod', OUTSIDE, 80, source='172.16.0.9'), flush=True)
for phase, file in [('with', sys.argv[1]), ('ssh', sys.argv[2])]:
    sh('nft', '-f', file, netns='gate')
    sh('nft', '-f', file, netns='gate')
    sh('sysctl', '-q', '-w', *sys.argv[3:], netns='gate')
    attack(phase, late)
print('LISTED', flush=True)
print(sh('nft', '--stateless', 'list', 'table', 'inet', 'hale', netns='gate'), flush=True)
print('END', flush=True)
for netns in ['pod', 'node', 'gate']:
    for kind in ['tcp', 'udp']:
        print('out', netns, kind, ask(kind, netns, OUTSIDE, 80), flush=True)
print('out alien', ask('udp', 'pod', OUTSIDE, 80, source='172.16.0.9', wait=2), flush=True)
for port in PORTS[:5]: print('lan tcp', port, ask('tcp', 'pod', '10.0.3.1', port), flush=True)
for port in [53, 8080]: print('lan udp', port, ask('udp', 'pod', '10.0.3.1', port), flush=True)
print('lan service', ask('tcp', 'node', '10.96.0.10', 53), flush=True)
print('lan pod', ask('tcp', 'node', '10.0.3.16', 8080), flush=True)
print('lan own', ask('tcp', 'gate', '10.0.3.16', 8080), flush=True)
for name, server in servers.items():
    server.kill()
    words = server.stdout.read().split()
    for word in ['first', 'later']:
        if word in words: print('heard', word, name, flush=True)
"#;

/// A role as an image has it: the example's values and the overlay's sockets.
fn role(kind: &str) -> RoleConfig {
    let top = tests::checkout::top();
    let read = |path: &str| std::fs::read_to_string(top.join(path)).expect(path);
    let (example, overlay) =
        (read("node/examples/role.toml"), read(&format!("overlays/{kind}/usr/lib/hale/role.toml")));
    let (head, rest) = example.split_once("[[sockets]]").expect("sockets");
    let packages = &rest[rest.find("[[packages]]").expect("packages")..];
    let sockets = &overlay[overlay.find("[[sockets]]").expect("sockets")..];
    let text = format!("{head}{sockets}\n{packages}");
    RoleConfig::parse(&text.replacen("role = \"master\"", &format!("role = {kind:?}"), 1)).expect("a role")
}

/// Whether the master's role lets something listen there in the cluster's network.
fn is_listed(protocol: Protocol, port: u16) -> bool {
    let role = role("master");
    let mut near = role.sockets.iter().filter(|socket| socket.bind != BindScope::Loopback);
    near.any(|socket| socket.protocol == protocol && socket.port == Some(port))
}

/// The filter of a machine, as a file and as nft(8) lists it.
fn rules(kind: &str, more: &str) -> (String, String) {
    let role = role(kind);
    let address = if kind == "node" { "address = \"10.0.3.2\"\n" } else { "" };
    let text = format!("name = \"gate\"\n[network]\nbridge = \"make\"\n{address}{more}");
    let config = NodeConfig::parse("node.toml", &text, &role).expect("a node.toml");
    let host = RealHost::new(None);
    let node = Node::new(&host, &role, &config).expect("a node");
    (filter::text(&node), filter::table(&node))
}

/// Words, for nft breaks lines where it likes.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Runs a script in namespaces of its own, which end with it.
fn scene(arguments: &[&str]) -> String {
    assert!(is_root(), "run this test as root: it makes networks");
    let mut command = tool("unshare", "util-linux");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec"]);
    command.arg("mount -t tmpfs tmpfs /run; mkdir /run/netns; exec \"$@\"").arg("sh").args(arguments);
    String::from_utf8(succeed(&mut command)).expect("text")
}

/// What answers to the attack where there is no filter.
const WITHOUT: [&str; 18] = [
    "tcp 192.0.2.1 6443",
    "tcp 192.0.2.1 22",
    "tcp 192.0.2.1 30080",
    "tcp 10.0.3.1 6443",
    "tcp 10.0.3.1 10250",
    "tcp 10.0.3.2 8080",
    "tcp 10.0.3.16 8080",
    "tcp 10.96.0.10 53",
    "tcp 127.0.0.1 6443",
    "tcp 2001:db8::1 6443",
    "udp 192.0.2.1 53",
    "udp 10.0.3.2 8080",
    "udp 10.0.3.16 8080",
    "icmp 192.0.2.1",
    "icmp 10.0.3.1",
    "icmp 10.0.3.16",
    "icmp 2001:db8::1",
    "arp 10.0.3.1",
];

#[test]
fn nobody_outside_has_an_answer_and_everybody_inside_has() {
    let _ = [tool("nft", "nftables"), tool("ip", "iproute2"), tool("python3", "python3")];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let uplink = "[uplink]\ninterface = \"enp0s4\"\n";
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJtOMhWABd+kjc2gQNrYkKIk6hXqZwVB2HWWcIpSPQ5m ann@example";
    let with_ssh =
        format!("{uplink}[access]\noperator = \"ann\"\nssh-keys = [{key:?}]\nssh-listen = \"every\"\n");
    let paths = [("with", uplink), ("ssh", with_ssh.as_str())].map(|(name, more)| {
        let path = folder.path().join(name);
        put(&path, rules("master", more).0);
        path.to_str().expect("UTF-8").to_owned()
    });
    let settings = tests::checkout::top().join("overlays/machine/usr/lib/sysctl.d/61-hale-machine.conf");
    let settings = std::fs::read_to_string(settings).expect("settings");
    let settings = settings.lines().filter(|line| line.starts_with("net.")).map(|line| line.replace(' ', ""));
    let settings: Vec<String> = settings.collect();
    let mut arguments = vec!["python3", "-c", SCENE, &paths[0], &paths[1]];
    arguments.extend(settings.iter().map(String::as_str));
    let said = scene(&arguments);
    let of = |phase: &str| -> BTreeSet<&str> {
        said.lines().filter_map(|line| line.strip_prefix(phase)?.strip_prefix(' ')).collect()
    };
    // Without it all of them answer, by every address and protocol: this is what it keeps.
    let without = of("without");
    for answer in WITHOUT {
        assert!(without.contains(answer), "the attack does not see {answer}: {without:?}");
    }
    assert_eq!(of("with"), BTreeSet::new());
    assert_eq!(of("ssh"), BTreeSet::from(["tcp 192.0.2.1 22"]));
    let listed = said.split("LISTED\n").nth(1).and_then(|rest| rest.split("END\n").next()).expect("a list");
    assert_eq!(words(listed), words(&rules("master", &with_ssh).1));
    let out = ["pod", "node", "gate"]
        .into_iter()
        .flat_map(|from| ["tcp", "udp"].map(|kind| format!("{from} {kind} 192.0.2.1")));
    let out: BTreeSet<String> = out.chain(["alien silent".to_owned()]).collect();
    assert_eq!(of("out"), out.iter().map(String::as_str).collect());
    let asked = [(Protocol::Tcp, vec![22, 53, 6443, 8080, 10250]), (Protocol::Udp, vec![53, 8080])];
    let asked =
        asked.into_iter().flat_map(|(protocol, ports)| ports.into_iter().map(move |port| (protocol, port)));
    let answers = asked.map(|(protocol, port)| {
        let kind = if protocol == Protocol::Tcp { "tcp" } else { "udp" };
        format!(
            "{kind} {port} {}",
            if is_listed(protocol, port) || kind == "tcp" && port == 22 { "10.0.3.16" } else { "refused" }
        )
    });
    let beside = ["service 10.0.3.1", "pod 10.0.3.2", "own 10.0.3.1"].map(str::to_owned);
    let lan: BTreeSet<String> = answers.chain(beside).collect();
    assert_eq!(of("lan"), lan.iter().map(String::as_str).collect());
    assert!(
        is_listed(Protocol::Tcp, 6443) && is_listed(Protocol::Udp, 53) && !is_listed(Protocol::Tcp, 8080)
    );
    // Each heard the alien words of the attack without the filter, and none that came later.
    assert_eq!(of("heard"), BTreeSet::from(["first gate", "first node", "first pod"]));
    assert_eq!(of("bare"), BTreeSet::from(["pod 10.0.3.16", "alien 172.16.0.9"]));
}

/// A node lets nothing through but what stays on its bridge, and its rules are listed as they are written, too.
#[test]
fn a_node_is_no_gateway() {
    let (text, table) =
        rules("node", "open = [\"80/tcp\", \"81/tcp\", \"82/tcp\", \"83/tcp\", \"9000/udp\"]\n");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("filter.nft");
    put(&path, &text);
    let listed = scene(&[
        "sh",
        "-ec",
        "nft -f \"$0\"; nft --stateless list table inet hale",
        path.to_str().expect("UTF-8"),
    ]);
    assert_eq!(words(&listed), words(&table));
    assert!(!table.contains("masquerade") && !table.contains("ip daddr != @cluster accept"), "{table}");
}
