//! Paths of Kubernetes that more than one part of `hale` uses.

/// Directory of certificates.
pub const PKI: &str = "/etc/kubernetes/pki";
/// The certificate of the cluster's CA.
pub const CA: &str = "/etc/kubernetes/pki/ca.crt";
/// The administrator's kubeconfig, which root alone may read.
pub const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// The kubelet's kubeconfig.
pub const KUBELET: &str = "/etc/kubernetes/kubelet.conf";
/// Socket of CRI-O.
pub const CRI_SOCKET: &str = "/var/run/crio/crio.sock";
/// File of name servers. Without it the kubelet starts no pod.
pub const RESOLVER: &str = "/etc/resolv.conf";
