//! What `hale`, the program on the node, is made of.
//!
//! The builder's lint uses [`role`] and [`identity`] too, so that what a package carries is parsed by the
//! very types that read it on the node.

pub mod fault;
pub mod identity;
pub mod initrd;
pub mod role;
pub mod shim;
