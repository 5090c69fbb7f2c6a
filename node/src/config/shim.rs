//! `/usr/lib/hale/shim.toml`: what the shim must know of the site. Apart from `role.toml`, since the shim is there
//! before a role is, and after.

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Result, parse_toml};

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ShimConfig {
    /// The AppArmor profile that CRI-O loads.
    pub apparmor_profile: String,
    /// Host id of containers' root.
    pub first_id: u32,
    /// Number of mapped ids.
    pub ids: u32,
    /// Host id that static pods run as; the next one is etcd's. Neither is in another pod's map.
    pub control_plane_id: u32,
}

impl ShimConfig {
    /// Path of the file.
    pub const PATH: &str = "/usr/lib/hale/shim.toml";

    /// Parses the file's text.
    pub fn parse(text: &str) -> Result<Self> {
        let config: Self = parse_toml(Self::PATH, text)?;
        check_ids(config.first_id, config.ids, config.control_plane_id)?;
        Ok(config)
    }
}

/// Refuses ids of which the host's root, containers and the control plane would share one.
pub fn check_ids(first: u32, ids: u32, control_plane: u32) -> Result<()> {
    let Some(end) = first.checked_add(ids).filter(|_| first > 0 && ids > 1) else {
        return Err(Fault::input("the mapped ids must not contain 0, be fewer than two, or leave 32 bits"));
    };
    let Some(etcd) = control_plane.checked_add(1).filter(|_| control_plane > 0) else {
        return Err(Fault::input("control-plane-id and the id behind it must be ids other than 0"));
    };
    if (first..end).contains(&control_plane) || (first..end).contains(&etcd) {
        let what = format!(
            "control-plane-id {control_plane} or {etcd} is one of the pods' ids, {first} to {}",
            end - 1
        );
        return Err(Fault::input(what));
    }
    Ok(())
}
