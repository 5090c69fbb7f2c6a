//! What `hale`, the program on the node, is made of.
//!
//! The builder's lint uses [`role`] and [`identity`] too, so that what a package carries is parsed by the
//! very types that read it on the node.

pub mod bootstrap;
pub mod cluster;
pub mod fault;
pub mod files;
pub mod identity;
pub mod initrd;
pub mod journal;
pub mod kubeadm;
pub mod network;
pub mod node;
pub mod ownership;
pub mod phases;
pub mod preflight;
pub mod proxy;
pub mod role;
pub mod runtime;
pub mod shim;
pub mod world;

#[cfg(test)]
mod fake;
