//! What `hale`, the program on the node, is made of.
//!
//! A folder is a floor: what is in it uses its own folder, and those that stand before it here.
//!
//! The builder's lint uses [`config`] too, so that what a package carries is parsed by the very types that read it on the
//! node.

/// The one error: what went wrong, where, and what to do about it.
pub mod fault;

/// Text as others want it: base64, and safe for a terminal.
pub mod text;

/// The files that say what a node is: parsed and checked, never read from a disk.
pub mod config;

/// The machine: its files, its programs, its clock.
pub mod host;

/// The first program that runs on a node: finds the root file system and goes there.
pub mod initramfs;

/// What CRI-O calls in place of crun and conmon.
pub mod shim;

/// The cluster as one node sees it: the API server, kubeadm, who owns which file.
pub mod kubernetes;

/// Certificates before they end: asked for, approved, renewed.
pub mod renew;

/// First boot: the phases that make the machine a node.
pub mod bootstrap;

/// Every promise of the node, proven on the running machine.
pub mod doctor;

/// `hale`'s other verbs, and what is told of a bootstrap.
pub mod commands;

/// What tests and fuzzing alone use.
#[cfg(any(test, fuzzing))]
pub mod testing;
