//! Bytes in a row: tar, and the compressors.

pub mod gzip;
pub mod tar;
pub mod xz;
pub mod zstd;
