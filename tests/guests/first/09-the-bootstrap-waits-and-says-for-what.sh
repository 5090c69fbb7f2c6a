# The seed was taken: the node's file is its own, and the bridge is made as it says.
[ "$(stat -c '%U:%G %a' /etc/hale/node.toml)" = 'root:root 600' ]
grep -x 'name = "trial"' /etc/hale/node.toml
for _ in $(seq 120); do ip -4 -o address show dev lxcbr0 | grep -F ' 10.0.3.1/24 ' && break; sleep 1; done
ip -4 -o address show dev lxcbr0 | grep -F ' 10.0.3.1/24 '
# The next boot must not wait for a bridge that nothing is plugged into.
/lib/systemd/systemd-networkd-wait-online --timeout=60
# Without Kubernetes' programs it waits, and says so.
systemctl stop hale-bootstrap
mkdir /root/away
mv /usr/bin/kubeadm /usr/bin/kubelet /root/away
systemctl start --no-block hale-bootstrap
for _ in $(seq 120); do hale status | grep kubeadm && break; sleep 1; done
mv /root/away/* /usr/bin
hale status
hale status | grep 'waiting.*kubeadm\|kubeadm.*install'
