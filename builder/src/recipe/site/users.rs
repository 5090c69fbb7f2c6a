//! The host ids that containers run as: pods' range, and the control plane's own.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::name::UserName;
use crate::base::Result;
use crate::base::text::SourceText;

/// One range of host ids, for users and groups alike, and the name of its first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Users {
    /// The user and group that a container's root is on the host.
    pub name: UserName,
    /// The first id.
    pub first_id: u32,
    /// The number of ids: at least 65536.
    pub count: u32,
    /// The control plane's own id, outside the range; the next one is etcd's.
    pub control_plane_id: u32,
}

impl Users {
    /// Returns the names of all users that are made on a node: containers' root, the control plane, etcd.
    pub fn names(&self) -> [String; 3] {
        [self.name.to_string(), format!("{}-control-plane", self.name), "etcd".to_owned()]
    }

    /// Returns the id that etcd runs as.
    pub fn etcd_id(&self) -> u32 {
        self.control_plane_id + 1
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawUsers {
    name: UserName,
    first_id: Spanned<u32>,
    control_plane_id: Spanned<u32>,
    count: Spanned<u32>,
}

/// Ids below are the system's: Debian's static and dynamic users, systemd's DynamicUser= and nobody
/// (Debian Policy 9.2.2).
const FIRST_FREE_ID: u32 = 65_536;

/// Reads them: ids that are nobody else's.
pub(super) fn parse(text: SourceText<'_>, raw: RawUsers) -> Result<Users> {
    let (first, count) = (*raw.first_id.get_ref(), *raw.count.get_ref());
    if count < 65_536 {
        let fault = text.fault(raw.count.span(), "too few ids for a container");
        return Err(
            fault.expected_found("at least 65536, because images use ids up to nobody's 65534", count)
        );
    }
    if first < FIRST_FREE_ID {
        let fault = text.fault(raw.first_id.span(), "a range that overlaps the system's own ids");
        return Err(fault.expected_found(format!("{FIRST_FREE_ID} or more"), first));
    }
    // The very last id, 2^32 - 1, means "none" to chown(2).
    let end = u64::from(first) + u64::from(count);
    if end > u64::from(u32::MAX) {
        let fault = text.fault(raw.first_id.span(), "a range past the last id");
        return Err(fault.expected_found(format!("at most {}", u32::MAX - count), first));
    }
    let own = *raw.control_plane_id.get_ref();
    let meets = |id: u64| (u64::from(first)..end).contains(&id);
    if !(FIRST_FREE_ID..u32::MAX - 1).contains(&own) || meets(own.into()) || meets(u64::from(own) + 1) {
        let fault =
            text.fault(raw.control_plane_id.span(), "an id of the control plane's that is not its own");
        return Err(fault.expected_found(
            format!("two ids from {FIRST_FREE_ID} on, outside {first} to {}", end - 1),
            own,
        ));
    }
    Ok(Users { name: raw.name, first_id: first, count, control_plane_id: own })
}
