//! base64, as PEM and kubeconfigs have it (RFC 4648, section 4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Decodes base64 with padding; returns `None` if the text is not base64, or empty.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty())
}

/// Decodes the one block of a PEM text.
pub fn of_pem(text: &str) -> Option<Vec<u8>> {
    decode(&text.lines().filter(|line| !line.starts_with('-')).collect::<String>())
}

/// Encodes bytes as base64 with padding, on one line.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_agrees_with_rfc_4648() {
        for (text, bytes) in [("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()), "{text}");
            assert_eq!(encode(bytes.as_bytes()), text);
        }
        let all: Vec<u8> = (0..=255).rev().collect();
        assert_eq!(decode(&encode(&all)), Some(all));
        assert_eq!(encode(b""), "");
        assert_eq!(of_pem("-----BEGIN X-----\nZm9v\nYmFy\n-----END X-----\n").unwrap(), b"foobar");
        for bad in ["", "Zg", "Z", "Z!==", "===="] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
