//! Certificates and keys, by openssl(1).

use crate::fault::Result;

use super::{Command, Host};

/// Makes a command of openssl(1).
pub fn command(arguments: &[&str]) -> Command {
    Command::new("/usr/bin/openssl", arguments)
}

/// Returns whether a certificate ends within `days`; true if it cannot be read.
pub fn ends_within(host: &dyn Host, path: &str, days: u64) -> Result<bool> {
    let seconds = (days * 86_400).to_string();
    let path = host.argument(path);
    Ok(!host.run(&command(&["x509", "-noout", "-checkend", &seconds, "-in", &path]))?.success())
}

/// Returns whether the key belongs to the certificate; false if either cannot be read.
pub fn is_pair(host: &dyn Host, certificate: &str, key: &str) -> Result<bool> {
    let public = |arguments: &[&str], path: &str| -> Result<Option<String>> {
        let path = host.argument(path);
        let output = host.run(&command(&[arguments, &["-in", &path]].concat()))?;
        Ok(output.success().then_some(output.stdout))
    };
    let of_key = public(&["pkey", "-pubout"], key)?;
    Ok(of_key.is_some() && of_key == public(&["x509", "-noout", "-pubkey"], certificate)?)
}
