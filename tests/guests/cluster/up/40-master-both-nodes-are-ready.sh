. checks/common.sh
are_ready() { [ "$(kubectl get nodes --no-headers | awk '$2 == "Ready"' | wc -l)" = 2 ]; }
within 2400 are_ready
kubectl get nodes -o wide
kubectl get pods --all-namespaces -o wide
