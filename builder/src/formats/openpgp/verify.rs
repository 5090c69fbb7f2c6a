//! Which signatures count.

use pgp::composed::{Deserializable, DetachedSignature, SignedPublicKey};
use pgp::packet::{Signature, SignatureType};

use super::certificate::{self, Fingerprint, Judgement, Keyring};
use super::cleartext;
use crate::base::{Epoch, Fault, Result};

/// A text that was signed, and by whom. Only this text may be used, never the message it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedText {
    /// The signed text, with a newline at its end.
    pub text: String,
    /// The primary keys of the good signatures, sorted.
    pub signers: Vec<Fingerprint>,
}

/// Verifies a clearsigned text at `time`: at least one pinned key has signed it, that key was good at
/// `time`, and no signature that names a pinned key is bad. Signatures of other keys do not count.
pub fn verify_clearsigned(message: &str, keyring: &Keyring, time: Epoch) -> Result<VerifiedText> {
    let read = cleartext::read(message)?;
    let signatures = parse(read.signatures)?;
    let signers = signers(&signatures, SignatureType::Text, read.text.as_bytes(), keyring, time)?;
    Ok(VerifiedText { text: read.text + "\n", signers })
}

/// Verifies armored signatures beside `bytes`, by the same rules, and returns the signers.
pub fn verify_detached(
    bytes: &[u8],
    signatures: &str,
    keyring: &Keyring,
    time: Epoch,
) -> Result<Vec<Fingerprint>> {
    signers(&parse(signatures)?, SignatureType::Binary, bytes, keyring, time)
}

fn parse(armored: &str) -> Result<Vec<Signature>> {
    let wrong = |error: pgp::errors::Error| Fault::integrity("not an OpenPGP signature").cause(error);
    let (packets, _) = DetachedSignature::from_armor_many(armored.as_bytes()).map_err(wrong)?;
    packets.map(|packet| packet.map(|packet| packet.signature).map_err(wrong)).collect()
}

fn signers(
    signatures: &[Signature],
    kind: SignatureType,
    bytes: &[u8],
    keyring: &Keyring,
    time: Epoch,
) -> Result<Vec<Fingerprint>> {
    let mut signers = Vec::new();
    for signature in signatures {
        for certificate in keyring.certificates() {
            if let Some(judgement) = judge(signature, kind, bytes, certificate, time) {
                let signer = Fingerprint::of(&certificate.primary_key);
                judgement.map_err(|why| Fault::integrity(format!("the signature by {signer}: {why}")))?;
                signers.push(signer);
            }
        }
    }
    signers.sort();
    signers.dedup();
    if signers.is_empty() {
        let pins: Vec<String> =
            keyring.certificates().iter().map(|c| Fingerprint::of(&c.primary_key).to_string()).collect();
        let found: Vec<String> = signatures.iter().map(issuer).collect();
        return Err(Fault::integrity("not signed by a pinned key").expected_found(
            pins.join(" or "),
            if found.is_empty() { "no signature".to_owned() } else { found.join(", ") },
        ));
    }
    Ok(signers)
}

/// `None` if the signature does not name a key of the certificate; else whether it is good.
fn judge(
    signature: &Signature,
    kind: SignatureType,
    bytes: &[u8],
    certificate: &SignedPublicKey,
    time: Epoch,
) -> Option<Judgement> {
    let names = |key: &dyn pgp::types::KeyDetails| {
        signature.issuer_fingerprint().contains(&&key.fingerprint())
            || signature.issuer_key_id().contains(&&key.legacy_key_id())
    };
    let check = |key_is_good: Judgement, verified: pgp::errors::Result<()>| {
        key_is_good.map_err(|why| format!("the key {why}"))?;
        certificate::check_signature(signature, time).map_err(|why| format!("it {why}"))?;
        if signature.typ() != Some(kind) {
            return Err("it is of another type".to_owned());
        }
        verified.map_err(|_| "it does not match the text".to_owned())
    };
    let primary = certificate::check_primary(certificate, time);
    if names(&certificate.primary_key) {
        let good = primary.and_then(|()| certificate::check_may_sign(certificate, time));
        return Some(check(good, signature.verify(&certificate.primary_key, bytes)));
    }
    let subkey = certificate.public_subkeys.iter().find(|subkey| names(&subkey.key))?;
    let good = primary.and_then(|()| certificate::check_subkey(certificate, subkey, time));
    Some(check(good, signature.verify(&subkey.key, bytes)))
}

/// What a signature says of its maker, for messages.
fn issuer(signature: &Signature) -> String {
    let fingerprint = signature.issuer_fingerprint().first().map(|fingerprint| format!("{fingerprint:X}"));
    let key_id = || signature.issuer_key_id().first().map(|id| id.to_string().to_uppercase());
    fingerprint.or_else(key_id).unwrap_or_else(|| "an unnamed key".to_owned())
}
