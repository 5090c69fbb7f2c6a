getent passwd k8s | grep -Fx 'k8s:x:10000000:10000000:Root inside containers:/:/usr/sbin/nologin'
getent group k8s | grep -Fx 'k8s:x:10000000:'
passwd -S k8s | grep ' L '
is() { [ "$(stat -c '%U:%G %a' "$1")" = "$2" ]; }
is /var/lib/kubelet 'root:k8s 750'
is /var/lib/kubelet/pods 'root:k8s 2750'
is /var/lib/etcd 'k8s:k8s 700'
is /var/lib/kube-proxy 'root:root 750'
