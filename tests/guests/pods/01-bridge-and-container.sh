ip link show lxcbr0 >/dev/null 2>&1 || ip link add lxcbr0 type bridge
ip address replace 10.0.3.1/24 dev lxcbr0
ip link set lxcbr0 up
# A root of one static program is image enough: the runtime is on trial, not the image.
mkdir -p /run/box/root/bin /run/box/root/proc /run/box/root/dev /run/box/root/sys /run/box/root/etc
for program in sh sleep cat; do
    cp /usr/bin/$program /run/box/root/bin/
    for library in $(ldd /usr/bin/$program | grep -o '/lib[^ ]*'); do
        mkdir -p "/run/box/root$(dirname "$library")"
        cp -L "$library" "/run/box/root$library"
    done
done
chown -R 10000000:10000000 /run/box/root
chmod 755 /run/box
cat > /run/box/containers.conf <<'C'
[containers]
apparmor_profile = "hale-trial"
pids_limit = 128
[network]
network_backend = "cni"
network_config_dir = "/run/box/net.d"
cni_plugin_dirs = ["/usr/lib/cni"]
[engine]
cgroup_manager = "systemd"
events_logger = "file"
infra_image = ""
conmon_path = ["/usr/bin/conmon"]
runtime = "shim"
[engine.runtimes]
shim = ["/usr/lib/hale/crun"]
C
# Podman reads lists of plugins only: ours becomes a list of one, word for word.
mkdir -p /run/box/net.d
python3 - <<'P'
import json
ours = json.load(open("/etc/cni/net.d/100-crio-bridge.conf"))
listed = {"cniVersion": ours.pop("cniVersion"), "name": ours.pop("name"), "plugins": [ours]}
json.dump(listed, open("/run/box/net.d/100-crio-bridge.conflist", "w"))
P
# Podman loads its own profile only under its default name; CRI-O does the same with its own.
printf 'profile hale-trial flags=(attach_disconnected,mediate_deleted) {\n  network,\n  capability,\n  file,\n  umount,\n  mount,\n  signal,\n  ptrace,\n}\n' |
    apparmor_parser -r
export CONTAINERS_CONF=/run/box/containers.conf
podman --log-level=info run --detach --name box --network crio-bridge --security-opt apparmor=hale-trial \
    --cap-drop ALL --cap-add NET_BIND_SERVICE --uidmap 0:10000000:65536 --gidmap 0:10000000:65536 \
    --rootfs /run/box/root /bin/sh -c 'while :; do sleep 1; done'
podman ps
[ "$(podman inspect -f '{{.State.Status}}' box)" = running ]
