# The controller manager makes the pods of CoreDNS' Deployment, the scheduler gives them to this node.
export KUBECONFIG=/etc/kubernetes/admin.conf
begun=$(date +%s)
until [ "$(kubectl -n kube-system get pods -l k8s-app=kube-dns -o 'jsonpath={.items[*].spec.nodeName}')" = 'master master' ]; do
    kubectl -n kube-system get deployments,pods -o wide
    [ $(($(date +%s) - begun)) -lt 300 ]
    sleep 5
done
# What a node needs to join is signed. Nobody comes with it.
hale token
# It is started anew without anybody waiting for it.
begun=$(date +%s)
until systemctl is-active hale-approve.service; do
    [ $(($(date +%s) - begun)) -lt 60 ]
    sleep 1
done
systemctl stop hale-approve.service
kubectl -n kube-public get configmap cluster-info -o yaml | grep jws-kubeconfig
