//! The parts of `hale`, the program on the node.
//!
//! A folder is a floor: what is in it uses its own folder, and those that stand before it here.
//!
//! The builder's lint uses [`config`] too, so that what a package carries is parsed by the very types that read it on the
//! node.

/// The one error: what went wrong, where, and what to do about it.
pub mod fault;

/// Text encodings: base64, and text that is safe for a terminal.
pub mod text;

/// Configuration files of a node: parsed and checked, never read from a disk.
pub mod config;

/// Host abstraction: files, commands, clock.
pub mod host;

/// `init` of the initramfs: finds the root file system and switches to it.
pub mod initramfs;

/// Shim that CRI-O calls in place of crun and conmon.
pub mod shim;

/// The cluster as one node sees it: the API server, kubeadm, who owns which file.
pub mod kubernetes;

/// The machine's network: packet filter, bridge, the way out, names, registries.
pub mod network;

/// Renewal of certificates: requests, approval, rotation.
pub mod renew;

/// People who use the cluster: their certificates, and what they may.
pub mod people;

/// What node.toml says of a machine beside the cluster: who may enter it, where apt finds packages.
pub mod machine;

/// First boot: the phases that make the machine a node.
pub mod bootstrap;

/// `hale doctor`: every promise of the node, proven on the running machine.
pub mod doctor;

/// `hale`'s other verbs, and the progress of a bootstrap.
pub mod commands;

/// Fakes for tests and properties for fuzzing.
#[cfg(any(test, fuzzing))]
pub mod testing;
