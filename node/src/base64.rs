//! base64, as PEM and kubeconfigs have it.

/// The bytes of a text of RFC 4648, with padding; `None` when it is not such a text or has none.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(u32::from(byte - b'A')),
        b'a'..=b'z' => Some(u32::from(byte - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(byte - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let digits = group.iter().take_while(|byte| **byte != b'=').count();
        let bits = group[..digits].iter().try_fold(0, |bits, byte| Some(bits << 6 | value(*byte)?))?;
        let padded = bits << (6 * (4 - digits));
        bytes.extend_from_slice(&padded.to_be_bytes()[1..digits.max(1)]);
    }
    (!bytes.is_empty() && text.len().is_multiple_of(4)).then_some(bytes)
}

/// The bytes of the one block of a PEM text.
pub fn of_pem(text: &str) -> Option<Vec<u8>> {
    decode(&text.lines().filter(|line| !line.starts_with('-')).collect::<String>())
}

/// The text of some bytes, with padding, on one line.
pub fn encode(bytes: &[u8]) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - group.len()));
        let digit = |place: usize| char::from(digits[bits >> (18 - 6 * place) & 63]);
        text.extend((0..4).map(|place| if place <= group.len() { digit(place) } else { '=' }));
    }
    text
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
