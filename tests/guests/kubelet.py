"""A stand-in of Hale's tests for the kubelet, which cannot work without CRI-O.

What it does of a kubelet's work: it runs the containers of static pods, by podman and Hale's shim, mapped,
confined and mounted as role and manifests say; and with the kubelet's own credentials it registers the node,
asks for a certificate as a server, and keeps saying that it is ready. Probes, mirror pods and ordinary pods are
none of it. It answers for names besides: there is no CoreDNS here, and without it no bootstrap is done.
"""

import base64
import hashlib
import json
import pathlib
import shlex
import ssl
import subprocess
import time
import tomllib
import urllib.error
import urllib.request

import yaml

MANIFESTS = pathlib.Path("/etc/kubernetes/manifests")
CREDENTIALS = pathlib.Path("/etc/kubernetes/kubelet.conf")
FLAGS = pathlib.Path("/var/lib/kubelet/kubeadm-flags.env")
ROLE = tomllib.loads(pathlib.Path("/usr/lib/hale/role.toml").read_text())
# podman gives its folders to containers' root, as CRI-O does, but keeps no other copy, and the shim would believe nothing in
# them. Nobody else is on this machine: they are taken back before it looks.
RUNTIME = pathlib.Path("/usr/local/sbin/hale-trial-runtime")
TAKES_BACK = """#!/bin/sh
before=
for word; do
    [ "$before" != --bundle ] || chown root:root "$word"
    before=$word
done
# The last word is the container's name.
own="/run/containers/storage/overlay-containers/$before/userdata"
[ ! -d "$own" ] || chown root:root "$own"
exec /usr/lib/hale/crun "$@"
"""
PODMAN = [
    "podman",
    f"--runtime={RUNTIME}",
    "--conmon=/usr/bin/conmon",
    "--storage-opt=additionalimagestore=/usr/lib/hale/images",
]
SERVING = pathlib.Path("/var/lib/kubelet/pki/kubelet-server-current.pem")
# As Go writes names: so that fits which must be the kubelet's to the last byte.
REQUEST = "[req]\ndistinguished_name = none\nstring_mask = default\n[none]\n"
# Seconds from one look to the next; a node that is silent for 40 is given up.
PULSE = 10


class Container:
    """One of a static pod's, started again whenever it ends."""

    def __init__(self, name, command):
        self.name, self.command = name, command
        self.child, self.due, self.pause = None, 0, PULSE

    def tend(self):
        now = time.monotonic()
        ended = self.child is None or self.child.poll() is not None
        if ended and now >= self.due:
            print(f"starts {self.name}", flush=True)
            self.child = subprocess.Popen(self.command)
            # As a kubelet does it: each time it is left alone for twice as long.
            self.due, self.pause = now + self.pause, self.pause * 2


def containers(manifest):
    text = manifest.read_text()
    pod = yaml.safe_load(text)
    spec, labels = pod["spec"], pod["metadata"]["labels"]
    assert spec["hostNetwork"], f"{manifest} is not of the control plane"
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"]}
    mapping = "0:{first-id}:{ids}".format(**ROLE["user"])
    # By what the kubelet calls a static pod, and by its manifest, the shim gives it ids of its own.
    parent = f"kubepods-burstable-pod{hashlib.md5(text.encode()).hexdigest()}.slice"
    for container in spec["containers"]:
        options = [
            f"--name={container['name']}",
            "--replace",
            f"--uidmap={mapping}",
            f"--gidmap={mapping}",
            f"--cgroup-parent={parent}",
            f"--annotation=component={labels['component']}",
            f"--pids-limit={ROLE['runtime']['pids-limit']}",
            "--cap-drop=ALL",
            *(f"--cap-add={name}" for name in ROLE["runtime"]["capabilities"]),
            "--security-opt=seccomp=/usr/lib/hale/seccomp.json",
            "--network=host",
            "--pull=never",
        ]
        for mount in container["volumeMounts"]:
            end = ":ro" if mount.get("readOnly") else ""
            options.append(f"--volume={paths[mount['name']]}:{mount['mountPath']}{end}")
        program, *arguments = container["command"]
        command = [f"--entrypoint={program}", container["image"], *arguments]
        yield Container(container["name"], [*PODMAN, "run", *options, *command])


class Node:
    """The node as its kubelet speaks for it."""

    def __init__(self):
        conf = yaml.safe_load(CREDENTIALS.read_text())
        cluster, user = conf["clusters"][0]["cluster"], conf["users"][0]
        self.server, self.name = cluster["server"], user["name"].removeprefix("system:node:")
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.tls = ssl.create_default_context(cadata=authority)
        own = pathlib.Path("/run/hale-trial.pem")
        own.touch(0o600)
        parts = ("client-certificate-data", "client-key-data")
        own.write_bytes(b"".join(base64.b64decode(user["user"][part]) for part in parts))
        self.tls.load_cert_chain(own)
        words = shlex.split(FLAGS.read_text().split("=", 1)[1])
        self.flags = dict(word.lstrip("-").split("=", 1) for word in " ".join(words).split())

    def ask(self, method, path, body=None, kind="application/json"):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.server + path, data, {"Content-Type": kind}, method=method)
        with urllib.request.urlopen(request, timeout=30, context=self.tls) as answer:
            return json.load(answer)

    def serve(self):
        """Asks for a certificate as a server, and takes it once somebody has signed it."""
        requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
        own, asked = pathlib.Path("/run/hale-trial-serving.key"), f"{self.name}-serving"
        if not own.exists():
            names = f"subjectAltName=DNS:{self.name},IP:{self.flags['node-ip']}"
            subject = f"/O=system:nodes/CN=system:node:{self.name}"
            pathlib.Path("/run/hale-trial.cnf").write_text(REQUEST)
            make = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            make += ["-config", "/run/hale-trial.cnf", "-subj", subject, "-addext", names]
            pem = subprocess.run([*make, "-keyout", own], check=True, capture_output=True).stdout
            spec = {
                "request": base64.b64encode(pem).decode(),
                "signerName": "kubernetes.io/kubelet-serving",
                "usages": ["digital signature", "key encipherment", "server auth"],
            }
            kind = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
            try:
                self.ask("POST", requests, {**kind, "metadata": {"name": asked}, "spec": spec})
            except OSError:
                own.unlink()
                raise
        status = self.ask("GET", f"{requests}/{asked}").get("status", {})
        if "certificate" in status:
            SERVING.write_bytes(base64.b64decode(status["certificate"]) + own.read_bytes())

    def register(self):
        name, value = self.flags["node-labels"].split("=")
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", name: value}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name, "labels": labels}}
        try:
            self.ask("POST", "/api/v1/nodes", node)
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise

    def is_ready(self):
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ready = {"type": "Ready", "status": "True", "reason": "Stand-in", "lastHeartbeatTime": moment}
        size = {"cpu": "2", "memory": "2Gi", "pods": "110"}
        status = {
            "addresses": [{"type": "InternalIP", "address": self.flags["node-ip"]}],
            "allocatable": size,
            "capacity": size,
            "conditions": [ready],
        }
        path = f"/api/v1/nodes/{self.name}/status"
        self.ask("PATCH", path, {"status": status}, "application/strategic-merge-patch+json")


# Answers whatever it is asked with the API server's service address (RFC 1035, 4.1).
NAMES = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("10.255.0.2", 53))
while True:
    question, asker = server.recvfrom(1500)
    head = question[:2] + bytes([0x85, 0, 0, 1, 0, 1, 0, 0, 0, 0])
    record = bytes([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 96, 0, 1])
    server.sendto(head + question[12:] + record, asker)
"""


def answer_names():
    """As a pod would, in a network of its own: on the host nothing more listens. kube-proxy knows of no pod there."""
    if pathlib.Path("/run/netns/names").exists():
        return
    target = ["-d", "10.96.0.10", "-p", "udp", "--dport", "53", "-j", "DNAT", "--to-destination", "10.255.0.2"]
    inside = ["ip", "-n", "names"]
    for command in [
        ["ip", "netns", "add", "names"],
        ["ip", "link", "add", "names0", "type", "veth", "peer", "name", "names1", "netns", "names"],
        ["ip", "addr", "add", "10.255.0.1/24", "dev", "names0"],
        ["ip", "link", "set", "names0", "up"],
        [*inside, "addr", "add", "10.255.0.2/24", "dev", "names1"],
        [*inside, "link", "set", "names1", "up"],
        [*inside, "route", "add", "default", "via", "10.255.0.1"],
        ["iptables", "-t", "nat", "-I", "OUTPUT", *target],
    ]:
        subprocess.run(command, check=True)
    subprocess.Popen(["ip", "netns", "exec", "names", "python3", "-c", NAMES])


def main():
    RUNTIME.write_text(TAKES_BACK)
    RUNTIME.chmod(0o755)
    answer_names()
    manifests = sorted(MANIFESTS.glob("*.yaml"))
    tended = [container for manifest in manifests for container in containers(manifest)]
    node, known = Node(), False
    while True:
        for container in tended:
            container.tend()
        try:
            if not known:
                node.register()
                known = True
            node.is_ready()
            if not SERVING.exists():
                node.serve()
        except OSError as error:
            print(f"the API server does not take it: {error}", flush=True)
        time.sleep(PULSE)


main()
