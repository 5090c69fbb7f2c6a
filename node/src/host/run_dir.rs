//! `/run/hale`: files of root's alone, in memory that a reboot forgets.

use crate::fault::Result;

use super::{Host, files};

/// Path of the directory.
pub const PATH: &str = "/run/hale";

/// Makes the directory.
pub fn make(host: &dyn Host) -> Result<()> {
    files::make_directory(host, &host.path(PATH), 0o700)
}

/// Writes a file in the directory and returns its path.
pub fn write(host: &dyn Host, name: &str, bytes: &[u8]) -> Result<String> {
    let path = format!("{PATH}/{name}");
    make(host)?;
    files::write(host, &path, bytes, 0o600)?;
    Ok(path)
}

/// Calls a function with the path of a temporary file, which is removed however the function ends: it may hold a
/// secret.
pub fn with_file<T>(
    host: &dyn Host,
    name: &str,
    bytes: &[u8],
    act: impl FnOnce(&str) -> Result<T>,
) -> Result<T> {
    let file = File { host, path: write(host, name, bytes)? };
    let done = act(&file.path)?;
    file.remove()?;
    Ok(done)
}

/// A file that is removed on drop.
struct File<'a> {
    host: &'a dyn Host,
    path: String,
}

impl File<'_> {
    /// Removes the file and returns whether that succeeded.
    fn remove(self) -> Result<()> {
        files::remove(self.host, &self.path)
    }
}

impl Drop for File<'_> {
    fn drop(&mut self) {
        // Whoever fails has something more important to say.
        let _ = files::remove(self.host, &self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::testing::fake::FakeHost;

    #[test]
    fn a_file_is_gone_whether_it_went_well_or_not() {
        let host = FakeHost::new();
        let holders = || host.holders("a secret");
        let act = |well: bool| {
            with_file(&host, "x.json", b"a secret", |path| {
                assert_eq!((path, holders()), ("/run/hale/x.json", vec!["run/hale/x.json".to_owned()]));
                if well { Ok(7) } else { Err(Fault::transient("it took too long")) }
            })
        };
        assert_eq!(act(true).unwrap(), 7);
        assert_eq!(holders(), [""; 0]);
        assert_eq!(act(false).unwrap_err().to_string(), "it took too long");
        assert_eq!(holders(), [""; 0]);
    }
}
