//! Where Kubernetes keeps what more than one part of `hale` asks for.

/// Where certificates are.
pub const PKI: &str = "/etc/kubernetes/pki";
/// The cluster's CA: its certificate.
pub const CA: &str = "/etc/kubernetes/pki/ca.crt";
/// The kubeconfig that may do everything: root's alone.
pub const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// The kubelet's kubeconfig.
pub const KUBELET: &str = "/etc/kubernetes/kubelet.conf";
/// Where CRI-O listens.
pub const CRI_SOCKET: &str = "/var/run/crio/crio.sock";
