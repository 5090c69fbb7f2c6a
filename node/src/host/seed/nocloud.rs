//! A disk of cloud-init's NoCloud data source, labelled `cidata`: its files are translated once, and it is never written to.

use std::path::Path;

use zeroize::Zeroizing;

use crate::config::nocloud::{META_DATA, NETWORK_CONFIG, NoCloud, USER_DATA};
use crate::config::node::NodeConfig;
use crate::config::role::RoleConfig;
use crate::fault::{Fault, Result};
use crate::host::{Host, files};
use crate::text::terminal::plain;

/// The disk's paths, as udev makes them: vfat has its labels in capitals, or as they were written.
pub(super) const DEVICES: [&str; 2] = ["/dev/disk/by-label/cidata", "/dev/disk/by-label/CIDATA"];

/// Writes `node.toml` by what a mounted disk says.
pub(super) fn take(host: &dyn Host, role: &RoleConfig, point: &Path) -> Result<()> {
    let read = |name: &str| -> Result<Zeroizing<String>> {
        let text = files::read_limited(&point.join(name), NodeConfig::LIMIT);
        let text = text.map_err(|fault| fault.context("the cidata disk"))?;
        Ok(Zeroizing::new(text.unwrap_or_default()))
    };
    let (meta, user, network) = (read(META_DATA)?, read(USER_DATA)?, read(NETWORK_CONFIG)?);
    if meta.is_empty() && user.is_empty() {
        return Err(Fault::input(format!("the cidata disk has neither {META_DATA} nor {USER_DATA}")));
    }
    let source = NoCloud { meta_data: &meta, user_data: &user, network_config: &network };
    let found = source.translate(role).map_err(|fault| fault.context("the cidata disk"))?;
    for unread in &found.unread {
        eprintln!("hale: the cidata disk: not read: {}", plain(unread));
    }
    files::write(host, NodeConfig::PATH, Zeroizing::new(found.node_toml).as_bytes(), 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fake::FakeHost;

    fn check(files: &[(&str, &str)], expect: std::result::Result<&str, &str>) {
        let role = RoleConfig::parse(include_str!("../../../examples/role.toml")).unwrap();
        let (host, disk) = (FakeHost::new(), tempfile::tempdir().unwrap());
        for (name, text) in files {
            std::fs::write(disk.path().join(name), text).unwrap();
        }
        let taken = take(&host, &role, disk.path()).map_err(|fault| fault.to_string());
        let written = files::read(&host, NodeConfig::PATH).unwrap();
        match expect {
            Ok(part) => {
                assert!(written.unwrap().contains(part));
                files::check_private(&host, NodeConfig::PATH).unwrap();
            }
            Err(part) => {
                assert!(taken.as_ref().is_err_and(|message| message.contains(part)), "{taken:?}");
                assert_eq!(written, None);
            }
        }
    }

    #[test]
    fn a_disk_is_taken_whole_or_not_at_all() {
        let user = include_str!("../../../testdata/access/user-data");
        check(&[("meta-data", "local-hostname: m\n")], Ok("name = \"m\"\n"));
        check(&[("user-data", user)], Ok("operator = \"ann\"\n"));
        check(&[], Err("neither meta-data nor user-data"));
        check(&[("meta-data", "local-hostname: -\n")], Err("the cidata disk: meta-data:1: "));
        check(&[("meta-data", &"a".repeat(70_000))], Err("more than 65536 bytes"));
    }
}
