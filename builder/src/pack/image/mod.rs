//! Container images, and the store that CRI-O reads them from, which lies in one file system.

pub mod closure;
pub mod containers_storage;
pub mod erofs;
pub mod oci;
