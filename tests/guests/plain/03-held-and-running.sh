for _ in $(seq 60); do apt-mark showhold | grep -Fx hale-master && break; sleep 1; done
for name in hale hale-common hale-master kubelet crun conmon; do apt-mark showhold | grep -Fx $name; done
systemctl is-enabled hale-bootstrap crio kubelet
[ -z "$(systemctl --failed --plain --no-legend)" ]
