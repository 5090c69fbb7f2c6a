for unit in crio kubelet kube-proxy hale-bootstrap; do
    [ "$(systemctl show -P LoadState $unit)" = loaded ]
done
[ "$(systemctl is-enabled crio-wipe.service || true)" = masked ]
[ "$(systemctl is-enabled apt-daily.timer || true)" = masked ]
# The stand-in says that it is ready, and the kubelet waits for the bootstrap.
systemctl is-active crio
[ "$(systemctl is-active kubelet || true)" = inactive ]
[ "$(systemctl is-enabled systemd-sysusers.service || true)" = masked ]
