//! Our own key: Ed25519, version 4, so that the gpgv of Debian 12 knows it.

use pgp::composed::{
    ArmorOptions, Deserializable, DetachedSignature, SignedKeyDetails, SignedPublicKey, SignedSecretKey,
};
use pgp::crypto::ed25519::{Mode, SecretKey as Ed25519};
use pgp::crypto::eddsa_legacy;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{
    KeyFlags, PacketTrait, PubKeyInner, PublicKey, SecretKey, SignatureConfig, SignatureType, Subpacket,
    SubpacketData, UserId,
};
use pgp::types::{
    EddsaLegacyPublicParams, KeyDetails, KeyVersion, PacketHeaderVersion, Password, PlainSecretParams,
    PublicParams, SecretParams, SignedUser, Timestamp,
};

use super::certificate::{self, Fingerprint};
use super::cleartext;
use crate::base::{Epoch, Fault, Result};

/// A key to sign a repository with. Signatures are deterministic: the same key, text and time give the
/// same bytes.
#[derive(Clone)]
pub struct SigningKey {
    key: SignedSecretKey,
}

impl SigningKey {
    /// Makes a key out of 32 random bytes, which the caller takes from the system. `name` is its user
    /// id; `made` must not lie after any signature's time.
    pub fn generate(seed: [u8; 32], name: &str, made: Epoch) -> Result<Self> {
        Self::try_generate(seed, name, timestamp(made)?)
            .map_err(|error| Fault::bug("cannot make a key").cause(error))
    }

    fn try_generate(seed: [u8; 32], name: &str, made: Timestamp) -> pgp::errors::Result<Self> {
        let mut flags = KeyFlags::default();
        flags.set_certify(true);
        flags.set_sign(true);
        Self::with_flags(seed, name, made, flags)
    }

    fn with_flags(seed: [u8; 32], name: &str, made: Timestamp, flags: KeyFlags) -> pgp::errors::Result<Self> {
        let (public, secret) = halves(seed, made)?;
        let key = SecretKey::new(PublicKey::from_inner(public)?, secret)?;
        let user = UserId::from_str(PacketHeaderVersion::New, name)?;
        let mut config = config(SignatureType::CertPositive, &key, made)?;
        config.hashed_subpackets.push(Subpacket::critical(SubpacketData::KeyFlags(flags))?);
        let binding =
            config.sign_certification(&key, key.public_key(), &Password::empty(), user.tag(), &user)?;
        let users = vec![SignedUser::new(user, vec![binding])];
        let details = SignedKeyDetails::new(Vec::new(), Vec::new(), users, Vec::new());
        Ok(Self { key: SignedSecretKey::new(key, details, Vec::new(), Vec::new()) })
    }

    /// Reads [`SigningKey::to_armor`]'s form.
    pub fn from_armor(text: &str) -> Result<Self> {
        let wrong = |error: pgp::errors::Error| Fault::user("not an OpenPGP secret key").cause(error);
        let (key, _) = SignedSecretKey::from_string(text).map_err(wrong)?;
        key.verify_bindings().map_err(wrong)?;
        Ok(Self { key })
    }

    /// Returns the secret key as text, without a password: the file that holds it is what guards it.
    pub fn to_armor(&self) -> Result<String> {
        self.key.to_armored_string(ArmorOptions::default()).map_err(unwritten)
    }

    /// Returns the key's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.key.primary_key)
    }

    /// Returns when it was made.
    pub fn made(&self) -> Result<Epoch> {
        Epoch::new(u64::from(self.key.primary_key.created_at().as_secs()))
    }

    /// Returns the public certificate, armored: what apt's `Signed-By` names.
    pub fn certificate_armor(&self) -> Result<String> {
        self.certificate().to_armored_string(ArmorOptions::default()).map_err(unwritten)
    }

    /// Returns the public certificate, binary: what gpgv's `--keyring` names.
    pub fn certificate_bytes(&self) -> Result<Vec<u8>> {
        certificate::to_bytes(&self.certificate())
    }

    /// Signs `text` in the cleartext framework at `time`. The text must be lines without white space
    /// at their ends, so that what is signed is what was given.
    pub fn clearsign(&self, text: &str, time: Epoch) -> Result<String> {
        let body = text.strip_suffix('\n').filter(|body| body.lines().all(|line| line.trim_end() == line));
        let body = body.filter(|body| !body.contains('\r'));
        let body = body.ok_or_else(|| Fault::bug("a text that cannot be clearsigned as it is"))?;
        let signature = self.sign(SignatureType::Text, body.as_bytes(), time)?;
        Ok(cleartext::write(text, &signature))
    }

    /// Signs `bytes`: an armored signature to stand beside them.
    pub fn sign_detached(&self, bytes: &[u8], time: Epoch) -> Result<String> {
        self.sign(SignatureType::Binary, bytes, time)
    }

    fn sign(&self, kind: SignatureType, bytes: &[u8], time: Epoch) -> Result<String> {
        if time < self.made()? {
            return Err(Fault::user("a signature dated before its key is refused by gpgv")
                .expected_found(format!("at or after {}", self.made()?), time));
        }
        let time = timestamp(time)?;
        let sign = || {
            let config = config(kind, &self.key.primary_key, time)?;
            let signature = config.sign(&self.key.primary_key, &Password::empty(), bytes)?;
            DetachedSignature::new(signature).to_armored_string(ArmorOptions::default())
        };
        sign().map_err(|error| Fault::bug("cannot sign").cause(error))
    }

    fn certificate(&self) -> SignedPublicKey {
        self.key.to_public_key()
    }
}

/// The two halves of a key.
fn halves(seed: [u8; 32], made: Timestamp) -> pgp::errors::Result<(PubKeyInner, SecretParams)> {
    let secret = Ed25519::try_from_bytes(seed, Mode::EdDSALegacy)?;
    let public = PublicParams::EdDSALegacy(EddsaLegacyPublicParams::from(&secret));
    let public = PubKeyInner::new(KeyVersion::V4, PublicKeyAlgorithm::EdDSALegacy, made, None, public)?;
    let secret = PlainSecretParams::EdDSALegacy(eddsa_legacy::SecretKey::Ed25519(secret));
    Ok((public, SecretParams::Plain(secret)))
}

/// A version 4 signature's frame with the subpackets that gpgv wants.
fn config(
    kind: SignatureType,
    key: &impl KeyDetails,
    time: Timestamp,
) -> pgp::errors::Result<SignatureConfig> {
    let mut config = SignatureConfig::v4(kind, key.algorithm(), HashAlgorithm::Sha512);
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::SignatureCreationTime(time))?,
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
    ];
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id()))?];
    Ok(config)
}

fn timestamp(time: Epoch) -> Result<Timestamp> {
    let seconds = u32::try_from(time.seconds());
    let seconds = seconds.map_err(|_| {
        Fault::user("OpenPGP has no time after the year 2105").expected_found("earlier", time)
    })?;
    Ok(Timestamp::from_secs(seconds))
}

fn unwritten(error: pgp::errors::Error) -> Fault {
    Fault::bug("cannot write a key").cause(error)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pgp::composed::SignedPublicSubKey;
    use pgp::packet::{PublicSubkey, SecretSubkey};

    use super::*;
    use crate::formats::openpgp::{Keyring, verify_clearsigned};

    const MADE: u32 = 1_700_000_000;
    const TEXT: &str = "Origin: Hale\n";

    /// A certificate, and the text signed with one of its keys.
    type Case = (SignedPublicKey, String);

    /// Signed with a primary key of these flags.
    fn primary(certify: bool, sign: bool) -> Case {
        let mut flags = KeyFlags::default();
        flags.set_certify(certify);
        flags.set_sign(sign);
        let key = SigningKey::with_flags([3; 32], "Test", Timestamp::from_secs(MADE), flags).unwrap();
        (key.certificate(), key.clearsign(TEXT, Epoch::new(u64::from(MADE) + 100).unwrap()).unwrap())
    }

    /// Signed with a subkey that binds itself back with this hash, so many seconds after it was made.
    fn subkey(hash: HashAlgorithm, after: u32) -> Case {
        let (made, word) = (Timestamp::from_secs(MADE), Password::empty());
        let key = SigningKey::generate([3; 32], "Test", Epoch::new(MADE.into()).unwrap()).unwrap();
        let main = &key.key.primary_key;
        let (public, secret) = halves([4; 32], made).unwrap();
        let public = PublicSubkey::from_inner(public).unwrap();
        let sub = SecretSubkey::new(public.clone(), secret).unwrap();
        let mut back = config(SignatureType::KeyBinding, &sub, Timestamp::from_secs(MADE + after)).unwrap();
        back.hash_alg = hash;
        let back = back.sign_primary_key_binding(&sub, &public, &word, main.public_key()).unwrap();
        let mut flags = KeyFlags::default();
        flags.set_sign(true);
        let mut binding = config(SignatureType::SubkeyBinding, main, made).unwrap();
        for data in [SubpacketData::KeyFlags(flags), SubpacketData::EmbeddedSignature(Box::new(back))] {
            binding.hashed_subpackets.push(Subpacket::regular(data).unwrap());
        }
        let binding = binding.sign_subkey_binding(main, main.public_key(), &word, &public).unwrap();
        let mut certificate = key.certificate();
        certificate.public_subkeys.push(SignedPublicSubKey::new(public, vec![binding]));
        let frame = config(SignatureType::Text, &sub, Timestamp::from_secs(MADE + 100)).unwrap();
        let signature = frame.sign(&sub, &word, TEXT.trim_end().as_bytes()).unwrap();
        let armor = DetachedSignature::new(signature).to_armored_string(ArmorOptions::default()).unwrap();
        (certificate, cleartext::write(TEXT, &armor))
    }

    /// What the primary key says of itself decides, and not only what it can do; a subkey's word that it belongs
    /// to the primary is judged as any other signature.
    #[test]
    fn keys_sign_when_they_may() {
        for ((certificate, message), expect) in [
            (primary(true, true), "good"),
            (primary(true, false), "is not for signing"),
            (subkey(HashAlgorithm::Sha512, 0), "good"),
            (subkey(HashAlgorithm::Sha512, 150), "good"),
            (subkey(HashAlgorithm::Sha512, 9000), "was made later"),
            (subkey(HashAlgorithm::Sha3_256, 0), "too weak"),
        ] {
            let pin = BTreeSet::from([Fingerprint::of(&certificate.primary_key)]);
            let bytes = certificate::to_bytes(&certificate).unwrap();
            let keyring = Keyring::pinned(&[&bytes], &pin).unwrap();
            match verify_clearsigned(&message, &keyring, Epoch::new(u64::from(MADE) + 200).unwrap()) {
                Ok(verified) => assert_eq!((verified.text.as_str(), expect), (TEXT, "good")),
                Err(fault) => assert!(fault.to_string().contains(expect), "{expect}: {fault}"),
            }
        }
    }
}
