# They had a month left when the machine was switched on. The timer came, and the kubelet saw to its own.
. checks/common.sh
are_good() {
    for name in apiserver apiserver-etcd-client apiserver-kubelet-client front-proxy-client etcd/healthcheck-client etcd/peer etcd/server; do
        is_good_for_long /etc/kubernetes/pki/$name.crt || return 1
    done
    sed -n 's/.*client-certificate-data: //p' /var/lib/kube-proxy/kubeconfig.conf | base64 -d > /run/kube-proxy.crt
    is_good_for_long /run/kube-proxy.crt || return 1
    is_good_for_long /var/lib/kubelet/pki/kubelet-client-current.pem
}
within 1800 are_good
systemctl show -P Result hale-renew.service | grep -x success
journalctl -b -u hale-renew.service -o cat | tail -n 5
systemctl list-timers hale-renew.timer
