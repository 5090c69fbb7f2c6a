# Not a byte is left; then somebody makes room, and that is all that is done.
. checks/common.sh
pressed() {
    kubectl get node "$own" -o jsonpath='{.status.conditions[?(@.type=="DiskPressure")].status}' | grep "^$1$"
}
within 300 pressed False
fallocate -l "$(df --output=avail -B 1 / | tail -n 1)" /var/lib/full
dd if=/dev/zero of=/var/lib/fuller bs=64k || true
fails dd if=/dev/zero of=/var/lib/no-room bs=64k count=2
df /
within 600 pressed True
sleep 60
crictl ps
rm /var/lib/full /var/lib/fuller /var/lib/no-room
within 1200 pressed False
within 600 is_ready
systemctl --failed
[ -z "$(systemctl --failed --plain --no-legend)" ]
