//! OpenPGP as apt needs it: verify a clearsigned text with pinned keys, sign one with ours.
//!
//! The `pgp` crate stays behind this module. It checks the mathematics and leaves judgement to its
//! caller, so the judgement is here: what a certificate is worth ([`certificate`]), how a clearsigned
//! text is framed ([`cleartext`]), and which signatures count ([`verify_clearsigned`]).

pub mod certificate;
pub mod cleartext;
mod signing;
mod verify;

pub use certificate::{Fingerprint, Keyring};
pub use signing::SigningKey;
pub use verify::{VerifiedText, verify_clearsigned, verify_detached};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::base::{Class, Epoch};

    const TEXT: &str = "Origin: Hale\n- dash\n\nlast\n";

    fn at(seconds: u64) -> Epoch {
        Epoch::new(seconds).unwrap()
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::generate([seed; 32], "Test <test@example.org>", at(1_700_000_000)).unwrap()
    }

    fn keyring(key: &SigningKey) -> Keyring {
        let armor = key.certificate_armor().unwrap();
        Keyring::pinned(&[armor.as_bytes()], &BTreeSet::from([key.fingerprint()])).unwrap()
    }

    #[test]
    fn signatures_are_deterministic_and_verify() {
        let key = key(1);
        let message = key.clearsign(TEXT, at(1_700_000_100)).unwrap();
        let again = SigningKey::from_armor(&key.to_armor().unwrap()).unwrap();
        assert_eq!(again.clearsign(TEXT, at(1_700_000_100)).unwrap(), message);
        let verified = verify_clearsigned(&message, &keyring(&key), at(1_700_000_200)).unwrap();
        assert_eq!(verified, VerifiedText { text: TEXT.to_owned(), signers: vec![key.fingerprint()] });
        let beside = key.sign_detached(b"bytes", at(1_700_000_100)).unwrap();
        assert!(verify_detached(b"bytes", &beside, &keyring(&key), at(1_700_000_200)).is_ok());
        assert!(verify_detached(b"Bytes", &beside, &keyring(&key), at(1_700_000_200)).is_err());
    }

    #[test]
    fn what_does_not_count() {
        let (good, other) = (key(1), key(2));
        let signed = |key: &SigningKey| key.clearsign(TEXT, at(1_700_000_100)).unwrap();
        let later = at(1_700_000_200);
        let unsigned = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nx\n-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n";
        for (message, time, what) in [
            (signed(&good).replace("Hale", "Hole"), later, "does not match the text"),
            (signed(&other), later, "not signed by a pinned key"),
            (signed(&good), at(1_700_000_050), "it was made later"),
            (signed(&good), at(1_600_000_000), "the key is not bound"),
            (unsigned.to_owned(), later, "found no signature"),
        ] {
            let fault = verify_clearsigned(&message, &keyring(&good), time).unwrap_err();
            assert!(fault.to_string().contains(what), "{what}: {fault}");
            assert_eq!(fault.class(), Class::Integrity);
        }
        let detached = good.sign_detached(TEXT.as_bytes(), at(1_700_000_100)).unwrap();
        let framed = cleartext::write(TEXT, &detached);
        let fault = verify_clearsigned(&framed, &keyring(&good), later).unwrap_err();
        assert!(fault.what().contains("another type"), "{fault}");
        assert_eq!(good.clearsign(TEXT, at(1_600_000_000)).unwrap_err().class(), Class::User);
        for text in ["no newline", "space \n", "carriage\r\n"] {
            assert!(good.clearsign(text, later).is_err(), "{text:?}");
        }
    }

    #[test]
    fn pins_decide_which_certificates_are_there() {
        let (good, other) = (key(1), key(2));
        let files = [good.certificate_bytes().unwrap(), other.certificate_bytes().unwrap()];
        let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        let both = BTreeSet::from([good.fingerprint(), other.fingerprint()]);
        assert!(Keyring::pinned(&files[..1], &both).is_err());
        assert!(Keyring::pinned(&[b"junk"], &both).is_err());
        let one = Keyring::pinned(&files, &BTreeSet::from([good.fingerprint()])).unwrap();
        let message = other.clearsign(TEXT, at(1_700_000_100)).unwrap();
        assert!(verify_clearsigned(&message, &one, at(1_700_000_200)).is_err());
    }

    #[test]
    fn a_damaged_message_never_verifies_and_never_panics() {
        let key = key(3);
        let (keyring, time) = (keyring(&key), at(1_700_000_200));
        let message = key.clearsign("Origin: Hale\n", at(1_700_000_100)).unwrap();
        let start = message.find("Origin").unwrap();
        for (index, byte) in message.bytes().enumerate().skip(start) {
            for bit in [0x01, 0x04, 0x10] {
                let mut bytes = message.clone().into_bytes();
                bytes[index] = byte ^ bit;
                let Ok(damaged) = String::from_utf8(bytes) else { continue };
                if let Ok(verified) = verify_clearsigned(&damaged, &keyring, time) {
                    assert_eq!(verified.text, "Origin: Hale\n", "byte {index}");
                }
            }
        }
    }
}
