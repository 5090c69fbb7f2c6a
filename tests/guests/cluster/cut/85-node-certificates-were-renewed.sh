# On a node that runs no kube-proxy there is one, the kubelet's.
. checks/common.sh
within 1800 is_good_for_long /var/lib/kubelet/pki/kubelet-client-current.pem
was_asked() { systemctl show -P ExecMainExitTimestampMonotonic hale-renew.service | grep -v '^0$'; }
within 1200 was_asked
systemctl show -P Result hale-renew.service | grep -x success
