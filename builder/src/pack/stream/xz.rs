//! Deterministic xz of small documents: package indices. Payloads take gzip, which is faster to write.

use std::io::{self, Write};

use liblzma::write::XzEncoder;

use crate::base::{Fault, Result};

/// xz's own default.
const PRESET: u32 = 6;

/// Compresses a document at once.
pub fn compress(bytes: &[u8]) -> Result<Vec<u8>> {
    let write = || -> io::Result<Vec<u8>> {
        let mut xz = XzEncoder::new(Vec::new(), PRESET);
        xz.write_all(bytes)?;
        xz.finish()
    };
    write().map_err(|error| Fault::bug("cannot compress in memory").cause(error))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::base::Digest;

    #[test]
    fn golden() {
        let text: String = (0..5000).map(|n| format!("Package: p{n}\nSize: {}\n\n", n * n)).collect();
        let bytes = compress(text.as_bytes()).unwrap();
        let mut again = String::new();
        liblzma::bufread::XzDecoder::new(bytes.as_slice()).read_to_string(&mut again).unwrap();
        assert!(again == text);
        assert_eq!(
            Digest::of(bytes).hex(),
            "60bd844c5c37fab6413d6b80ab4a1730f51d6e4cf757802babb1ac117fd4d11d",
            "the compressor's bytes changed, so every index does: if liblzma was updated on purpose, put \
             the new digest here and say so in the commit; else find out who changed it"
        );
    }
}
