//! Container images, and the store that CRI-O reads them from.

pub mod closure;
pub mod containers_storage;
pub mod erofs;
pub mod oci;
