//! Certificates and keys, by openssl(1).

use crate::fault::Result;

use super::{Call, Host};

/// A call of openssl(1).
pub fn call(arguments: &[&str]) -> Call {
    Call::new("/usr/bin/openssl", arguments)
}

/// Whether a certificate ends within `days`; what is no certificate does.
pub fn ends_within(host: &dyn Host, path: &str, days: u64) -> Result<bool> {
    let seconds = (days * 86_400).to_string();
    let path = host.argument(path);
    Ok(!host.run(&call(&["x509", "-noout", "-checkend", &seconds, "-in", &path]))?.success())
}

/// Whether a private key is a certificate's; what is neither is no pair.
pub fn is_pair(host: &dyn Host, certificate: &str, key: &str) -> Result<bool> {
    let public = |arguments: &[&str], path: &str| -> Result<Option<String>> {
        let path = host.argument(path);
        let ran = host.run(&call(&[arguments, &["-in", &path]].concat()))?;
        Ok(ran.success().then_some(ran.stdout))
    };
    let of_key = public(&["pkey", "-pubout"], key)?;
    Ok(of_key.is_some() && of_key == public(&["x509", "-noout", "-pubkey"], certificate)?)
}
