//! `hale` as it is installed: a plain Debian 12, the packages of a role from a signed repository, and the
//! program that lies in them. What this machine cannot have is a stand-in, and named one: [`programs`].
//!
//! With `HALE_KUBEADM` naming a kubeadm 1.20.2 the bootstraps run that one; without it a stand-in writes what
//! the real one was recorded to write.

mod bootstrap;
mod join;
mod machine;
mod packages;
mod programs;
mod seed;
