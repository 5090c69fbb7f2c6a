for _ in $(seq 60); do apt-mark showhold | grep -Fx hale-master && break; sleep 1; done
for name in hale hale-common hale-master kubelet crun conmon; do apt-mark showhold | grep -Fx $name; done
systemctl is-enabled hale-bootstrap crio kubelet
# This Debian is made as our disks are, without SSH's host keys, and nothing of ours makes them on it.
failed=$(systemctl --failed --plain --no-legend | grep -v '^ssh.service ') || true
[ -z "$failed" ]
# What tmpfiles makes at boot stands here as it does on a disk of ours (first/03).
is() { [ "$(stat -c '%U:%G %a' "$1")" = "$2" ]; }
is /var/lib/kubelet 'root:k8s 750'
is /var/lib/kubelet/pods 'root:k8s 2750'
is /var/lib/kube-proxy 'root:root 750'
