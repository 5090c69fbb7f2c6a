//! Certificates (public keys with their self-signatures), and what each of their keys may do when.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use pgp::composed::{Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::ser::Serialize as _;
use pgp::types::{KeyDetails, KeyVersion, Tag, VerifyingKey};

use crate::base::digest::serde_as_text;
use crate::base::{Epoch, Fault, Result};

/// A version 4 key's fingerprint: 40 hex digits, written in upper case as gpg does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn of(key: &impl KeyDetails) -> Self {
        Self(key.fingerprint().as_bytes().iter().map(|byte| format!("{byte:02X}")).collect())
    }
}

impl FromStr for Fingerprint {
    type Err = Fault;
    /// Reads 40 hex digits of either case; spaces between them are allowed.
    fn from_str(text: &str) -> Result<Self> {
        let digits: String = text.chars().filter(|c| *c != ' ').collect::<String>().to_uppercase();
        if digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(digits));
        }
        Err(Fault::user("not a key's fingerprint").expected_found("40 hex digits", format!("{text:?}")))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(Fingerprint);

/// Certificates to verify with: those that were pinned, and no other.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    certificates: Vec<SignedPublicKey>,
}

impl Keyring {
    /// Reads the pinned certificates from files' bytes, armored or binary. Others in the files are
    /// dropped. A pinned one that is nowhere is a fault of the user's, because the pin is.
    pub fn pinned(files: &[&[u8]], pins: &BTreeSet<Fingerprint>) -> Result<Self> {
        let mut certificates = Vec::new();
        for file in files {
            certificates.extend(parse(file)?);
        }
        let missing = pins
            .iter()
            .find(|pin| !certificates.iter().any(|key| Fingerprint::of(&key.primary_key) == **pin));
        if let Some(pin) = missing {
            return Err(Fault::user(format!("no certificate for the pinned key {pin}")));
        }
        certificates.retain(|key| pins.contains(&Fingerprint::of(&key.primary_key)));
        Ok(Self { certificates })
    }

    pub(super) fn certificates(&self) -> &[SignedPublicKey] {
        &self.certificates
    }
}

/// The certificates in a file's bytes.
fn parse(bytes: &[u8]) -> Result<Vec<SignedPublicKey>> {
    let wrong = |error: pgp::errors::Error| Fault::user("not an OpenPGP certificate").cause(error);
    if bytes.starts_with(b"-----BEGIN ") {
        return SignedPublicKey::from_armor_many(bytes)
            .map_err(wrong)?
            .0
            .map(|key| key.map_err(wrong))
            .collect();
    }
    SignedPublicKey::from_bytes_many(bytes).map_err(wrong)?.map(|key| key.map_err(wrong)).collect()
}

/// Fine, or why not, as the end of a sentence: `expired on ...`.
pub(super) type Judgement = std::result::Result<(), String>;

/// Checks that the certificate's primary key is one to sign with at `time`: bound to itself by a
/// self-signature, of version 4, neither revoked nor expired.
pub(super) fn check_primary(certificate: &SignedPublicKey, time: Epoch) -> Judgement {
    let (key, details) = (&certificate.primary_key, &certificate.details);
    if key.version() != KeyVersion::V4 {
        return Err("is not of version 4".to_owned());
    }
    let revocations = details.revocation_signatures.iter();
    if revocations.into_iter().any(|signature| signature.verify_key(key).is_ok()) {
        return Err("is revoked".to_owned());
    }
    check_lifetime(
        key,
        self_signature(certificate, time).ok_or("is not bound by a valid self-signature")?,
        time,
    )
}

/// Checks that the certificate's primary key may sign more than keys at `time`: its self-signature says so.
pub(super) fn check_may_sign(certificate: &SignedPublicKey, time: Epoch) -> Judgement {
    let says = self_signature(certificate, time).is_some_and(|newest| newest.key_flags().sign());
    if says { Ok(()) } else { Err("is not for signing".to_owned()) }
}

/// What a primary key says of itself at `time`: its newest valid self-signature.
fn self_signature(certificate: &SignedPublicKey, time: Epoch) -> Option<&Signature> {
    let (key, details) = (&certificate.primary_key, &certificate.details);
    let direct = details.direct_signatures.iter().filter(|signature| signature.verify_key(key).is_ok());
    let users = details.users.iter().flat_map(|user| {
        let valid =
            |signature: &&Signature| signature.verify_certification(key, Tag::UserId, &user.id).is_ok();
        let valid: Vec<&Signature> = user.signatures.iter().filter(valid).collect();
        let revoked = valid.iter().any(|signature| signature.typ() == Some(SignatureType::CertRevocation));
        if revoked { Vec::new() } else { valid }
    });
    newest(direct.chain(users), time)
}

/// Checks that a subkey may sign at `time`: bound by the primary key for signing and binding back, neither
/// revoked nor expired.
pub(super) fn check_subkey(
    certificate: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    time: Epoch,
) -> Judgement {
    let (primary, key) = (&certificate.primary_key, &subkey.key);
    let valid =
        subkey.signatures.iter().filter(|signature| signature.verify_subkey_binding(primary, key).is_ok());
    let (revocations, bindings): (Vec<&Signature>, Vec<&Signature>) =
        valid.partition(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation));
    if !revocations.is_empty() {
        return Err("is revoked".to_owned());
    }
    let binding = newest(bindings.into_iter(), time).ok_or("is not bound by its primary key")?;
    let back = binding.embedded_signature();
    let back = back.filter(|back| back.verify_primary_key_binding(key, primary).is_ok());
    let back = back.filter(|_| binding.key_flags().sign()).ok_or("is not for signing")?;
    check_signature(back, time).map_err(|why| format!("binds itself back with a signature that {why}"))?;
    check_lifetime(key, binding, time)
}

/// The newest signature of those that were made by `time`, have not expired and hide nothing critical.
fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>, time: Epoch) -> Option<&'a Signature> {
    let usable = signatures.filter(|signature| check_signature(signature, time).is_ok());
    usable.max_by_key(|signature| signature.created().map(|at| at.as_secs()))
}

fn check_lifetime(key: &impl VerifyingKey, binding: &Signature, time: Epoch) -> Judgement {
    let made = u64::from(key.created_at().as_secs());
    let life = binding.key_expiration_time().map_or(0, |life| u64::from(life.as_secs()));
    if made > time.seconds() {
        return Err("was made later".to_owned());
    }
    if life != 0 && made + life <= time.seconds() {
        let end = Epoch::new(made + life).map_err(|fault| fault.to_string())?;
        return Err(format!("expired on {end}"));
    }
    Ok(())
}

/// Checks that a signature packet may count at `time`: version 4, a strong hash, made by then and not
/// expired, no critical subpacket that we do not understand.
pub(super) fn check_signature(signature: &Signature, time: Epoch) -> Judgement {
    use pgp::crypto::hash::HashAlgorithm::{Sha256, Sha384, Sha512};
    let Some(config) = signature.config() else { return Err("is of an unknown version".to_owned()) };
    if config.version() != pgp::packet::SignatureVersion::V4 {
        return Err("is not of version 4".to_owned());
    }
    if !matches!(config.hash_alg, Sha256 | Sha384 | Sha512) {
        return Err(format!("is over a {} hash, which is too weak", config.hash_alg));
    }
    let foreign = |data: &SubpacketData| {
        use SubpacketData::{Experimental, Notation, Other};
        matches!(data, Experimental(..) | Other(..) | Notation(..))
    };
    if config.hashed_subpackets().any(|packet| packet.is_critical && foreign(&packet.data)) {
        return Err("has a critical part that is not understood".to_owned());
    }
    let made = signature.created().map(|at| u64::from(at.as_secs())).ok_or("has no date")?;
    let life = signature.signature_expiration_time().map_or(0, |life| u64::from(life.as_secs()));
    if made > time.seconds() {
        return Err("was made later".to_owned());
    }
    if life != 0 && made + life <= time.seconds() {
        return Err("has expired".to_owned());
    }
    Ok(())
}

/// Returns a certificate's bytes, as gpgv's keyrings have them.
pub(super) fn to_bytes(certificate: &SignedPublicKey) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let written = certificate.to_writer(&mut bytes);
    written.map_err(|error| Fault::bug("cannot write a certificate").cause(error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints() {
        let good: Fingerprint = "b8b8 0b5b 623e ab6a d877 5c45 b7c5 d7d6 3509 47f8".parse().unwrap();
        assert_eq!(good.as_str(), "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8");
        for bad in ["", "350947F8", &"G".repeat(40), &"A".repeat(41), "B7C5D7D6350947F8"] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
