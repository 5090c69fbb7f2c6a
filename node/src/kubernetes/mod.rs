pub mod api;
pub mod context;
pub mod invitation;
pub mod kube_proxy;
pub mod kubeadm;
pub mod ownership;
pub mod policy;
pub mod retry;
