# What a namespace's editor may have: ordinary pods, and nothing of the host's until the operator says so.
export KUBECONFIG=/etc/kubernetes/admin.conf
kubectl create namespace trial
kubectl create rolebinding editor -n trial --clusterrole=edit --serviceaccount=trial:default
asks() {
    printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: pod}\nspec: {%s}\n' "$1" |
        kubectl create -n trial --dry-run=server --as=system:serviceaccount:trial:default \
            --as-group=system:serviceaccounts --as-group=system:serviceaccounts:trial \
            --as-group=system:authenticated -o yaml -f - >/run/pod.yaml
}
refused() {
    if asks "$1" 2>/run/why; then return 1; fi
    grep 'PodSecurityPolicy: unable to admit pod' /run/why
}
container='containers: [{name: one, image: any}]'
with() { echo "containers: [{name: one, image: any, securityContext: {$1}}]"; }
begun=$(date +%s)
until asks "$container"; do
    [ $(($(date +%s) - begun)) -lt 120 ]
    sleep 3
done
grep 'seccomp.security.alpha.kubernetes.io/pod: runtime/default' /run/pod.yaml
grep -A9 'capabilities:' /run/pod.yaml | tr -d ' \n' | grep 'add:-NET_BIND_SERVICEdrop:-ALL'
asks "$(with 'runAsUser: 1000')"
refused "$(with 'privileged: true')"
refused "$(with 'capabilities: {add: [NET_RAW]}')"
refused "$(with 'allowPrivilegeEscalation: true')"
refused "$container, hostNetwork: true"
refused "$container, hostPID: true"
refused "$container, hostIPC: true"
refused "$container, securityContext: {seccompProfile: {type: Unconfined}}"
refused "$container, volumes: [{name: host, hostPath: {path: /srv/data}}]"
# More for one namespace, and no more than was said.
hale allow trial host-paths
until asks "$container, volumes: [{name: host, hostPath: {path: /srv/data}}]"; do
    [ $(($(date +%s) - begun)) -lt 300 ]
    sleep 3
done
refused "$container, volumes: [{name: host, hostPath: {path: /etc}}]"
refused "$container, hostNetwork: true"
# Secrets are encrypted where they are kept; who wrote them is written down, and what is in them is not.
kubectl create secret generic top -n trial --from-literal=word=never-in-clear
grep '"resource":"secrets","namespace":"trial","name":"top"' /var/log/kubernetes/audit.log
if grep -r never-in-clear /var/lib/etcd /var/log/kubernetes; then exit 1; fi
grep -ra -m1 -o k8s:enc:secretbox:v1:first /var/lib/etcd | head -1
