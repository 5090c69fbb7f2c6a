export KUBECONFIG=/etc/kubernetes/admin.conf
begun=$(date +%s)
until [ "$(kubectl get nodes --no-headers | awk '$2 == "Ready"' | wc -l)" = 2 ]; do
    [ $(($(date +%s) - begun)) -lt 2400 ]
    sleep 5
done
kubectl get nodes -o wide
kubectl get pods --all-namespaces -o wide
cut -d' ' -f1 /proc/uptime
