//! The repository's signing key on disk: one file of the user's, outside every checkout.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use super::atomic::write_new;
use crate::base::{Epoch, Fault, Result};
use crate::formats::openpgp::SigningKey;

/// 2020-01-01, the creation time of every key. A signature carries its lock's epoch and gpgv refuses
/// one that is older than its key, so a key made today could not sign yesterday's lock.
const MADE: u64 = 1_577_836_800;

/// Makes a key and keeps it at `path`, readable by its owner alone. What is there already stays: a
/// lost key cannot be made again, and nodes trust no other.
pub fn create(path: &Path, user: &str) -> Result<SigningKey> {
    let parent = path.parent().ok_or_else(|| Fault::user("a key needs a folder to be in"))?;
    DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(|e| Fault::io("make", parent, e))?;
    let key = SigningKey::generate(random()?, user, Epoch::new(MADE)?)?;
    let armor = key.to_armor()?;
    match write_new(path, 0o600, |file| file.write_all(armor.as_bytes()))? {
        true => Ok(key),
        false => Err(Fault::user(format!("there is a key already: {}", path.display()))
            .help("keep it; or move it away first, and give every node the new public key")),
    }
}

/// Reads the key at `path`. One that others can read is refused: it may be everybody's by now.
pub fn open(path: &Path) -> Result<SigningKey> {
    let found = fs::metadata(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            Fault::user(format!("no signing key: {} is missing", path.display())).help("cargo xtask key new")
        }
        _ => Fault::io("look at", path, e),
    })?;
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Fault::user(format!("others can read the signing key {}", path.display()))
            .expected_found("mode 0600", format!("mode {mode:04o}"))
            .help(format!("make a new one if it may have been read; else chmod 600 {}", path.display())));
    }
    let text = fs::read_to_string(path).map_err(|e| Fault::io("read", path, e))?;
    SigningKey::from_armor(&text).map_err(|fault| fault.context(path.display()))
}

/// 32 bytes from the kernel.
fn random() -> Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Fault::machine("the kernel gives no random bytes").cause(e))?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Class;

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hale/key.asc");
        assert_eq!(open(&path).err().unwrap().help_text(), Some("cargo xtask key new"));
        let key = create(&path, "Test").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let before = fs::read(&path).unwrap();
        assert_eq!(create(&path, "Other").err().unwrap().class(), Class::User);
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "something was left behind");
        assert_eq!(open(&path).unwrap().fingerprint(), key.fingerprint());
        assert_ne!(create(&dir.path().join("second"), "Test").unwrap().fingerprint(), key.fingerprint());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.asc");
        create(&path, "Test").unwrap();
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(open(&path).err().unwrap().class(), Class::User, "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "no key").unwrap();
        assert!(open(&path).err().unwrap().what().contains("not an OpenPGP secret key"));
    }
}
