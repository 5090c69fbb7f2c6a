# By the rules of the host's kube-proxy; an address of no service does not.
export KUBECONFIG=/etc/kubernetes/admin.conf
systemctl is-active kube-proxy
iptables-save -t nat | grep -- '-d 10.96.0.1/32 .*--dport 443 -j KUBE-SVC'
[ "$(kubectl --server=https://10.96.0.1:443 get --raw /healthz)" = ok ]
! kubectl --server=https://10.96.0.2:443 --request-timeout=10s get --raw /healthz
