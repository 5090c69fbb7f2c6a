getent passwd k8s | grep -Fx 'k8s:x:10000000:10000000:Root inside containers:/:/usr/sbin/nologin'
getent group k8s | grep -Fx 'k8s:x:10000000:'
getent passwd k8s-control-plane etcd | cut -d: -f3 | xargs | grep -Fx '20000000 20000001'
for user in k8s k8s-control-plane etcd; do passwd -S $user | grep ' L '; done
is() { [ "$(stat -c '%U:%G %a' "$1")" = "$2" ]; }
is /var/lib/kubelet 'root:k8s 750'
is /var/lib/kubelet/pods 'root:k8s 2750'
is /var/lib/kube-proxy 'root:root 750'
