//! What `hale`, the program on the node, is made of.
//!
//! The builder's lint uses [`role`] and [`identity`] too, so that what a package carries is parsed by the
//! very types that read it on the node.

pub mod base64;
pub mod bootstrap;
pub mod cluster;
pub mod dns;
pub mod doctor;
pub mod fault;
pub mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod hold;
pub mod identity;
pub mod initrd;
pub mod invitation;
pub mod journal;
pub mod kubeadm;
pub mod network;
pub mod node;
pub mod ownership;
pub mod patience;
pub mod phases;
pub mod plain;
pub mod preflight;
pub mod progress;
pub mod proxy;
pub mod renew;
pub mod report;
pub mod reset;
pub mod role;
pub mod runtime;
pub mod seed;
pub mod shim;
pub mod status;
pub mod token;
pub mod world;
pub mod written;

#[cfg(test)]
mod fake;
