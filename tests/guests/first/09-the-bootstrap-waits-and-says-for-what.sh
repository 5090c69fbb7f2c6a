systemctl stop hale-bootstrap
hostname trial
mkdir /root/away
mv /usr/bin/kubeadm /usr/bin/kubelet /root/away
ip link add lxcbr0 type bridge
ip address add 10.0.3.1/24 dev lxcbr0
ip link set lxcbr0 up
systemctl start hale-bootstrap || true
for _ in $(seq 60); do hale status | grep kubeadm && break; sleep 1; done
mv /root/away/* /usr/bin
hale status
hale status | grep kubeadm
