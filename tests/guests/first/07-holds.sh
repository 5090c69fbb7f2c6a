for name in hale hale-common hale-master hale-machine kubelet kubeadm kubectl kube-proxy crun cri-o conmon; do
    apt-mark showhold | grep -Fx $name
done
