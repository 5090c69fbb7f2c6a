# A kubeconfig for a person works from the LAN's address, gives what the group may, and leaves nothing behind.
cd /run
hale kubeconfig ann >ann.conf
hale kubeconfig bob --group hale:viewers --days 7 >bob.conf
as() { name=$1; shift; KUBECONFIG=/run/$name.conf kubectl "$@"; }
begun=$(date +%s)
until as ann get nodes; do
    [ $(($(date +%s) - begun)) -lt 300 ]
    sleep 5
done
as ann create namespace people
as ann auth can-i '*' '*' --all-namespaces
as bob get nodes
as bob get pods --namespace kube-system
if as bob get secrets --namespace kube-system; then exit 1; fi
if as bob create namespace more; then exit 1; fi
# By whom, as the audit log knows it.
grep -m 1 '"username":"ann","groups":\["hale:operators","system:authenticated"\]' /var/log/kubernetes/audit.log
# What is the cluster's own is nobody's.
for name in system:admin kubernetes-admin kube-apiserver master; do
    if hale kubeconfig "$name"; then exit 1; fi
done
if hale kubeconfig ann --group system:masters; then exit 1; fi
# Rights can be taken back, though a certificate cannot.
kubectl --kubeconfig /etc/kubernetes/admin.conf delete clusterrolebinding hale:viewers-of-machines
begun=$(date +%s)
while as bob get nodes; do
    [ $(($(date +%s) - begun)) -lt 120 ]
    sleep 3
done
[ -z "$(find /run/hale -name 'person*')" ]
[ ! -e /etc/kubernetes/pki/ca.srl ]
rm ann.conf bob.conf
hale status --brief | grep 'It is set up.'
