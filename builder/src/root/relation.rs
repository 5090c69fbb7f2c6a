//! The one relation between packages that matters once they are chosen: `Replaces`.

use crate::base::name::PackageName;
use crate::base::{Fault, Result};
use crate::debian::version::Version;

/// Whether a relation field, such as `a (<< 1.2), b`, names this package in this version.
pub(super) fn names(field: &str, name: &PackageName, version: &Version) -> Result<bool> {
    for one in field.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        let (found, rest) = one.split_once('(').unwrap_or((one, ""));
        let found = found.trim().split(':').next().unwrap_or_default();
        if found == name.as_str() && fits(rest.trim_end_matches(')').trim(), version)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn fits(condition: &str, version: &Version) -> Result<bool> {
    if condition.is_empty() {
        return Ok(true);
    }
    let split = condition.find(|c: char| !"<>=".contains(c)).unwrap_or(condition.len());
    let (operator, other) = condition.split_at(split);
    let order = version.cmp(&Version::new(other.trim())?);
    match operator {
        "<<" => Ok(order.is_lt()),
        "<=" | "<" => Ok(order.is_le()),
        "=" => Ok(order.is_eq()),
        ">=" | ">" => Ok(order.is_ge()),
        ">>" => Ok(order.is_gt()),
        _ => Err(Fault::integrity("not a relation").versus("<<, <=, =, >= or >>", format!("{condition:?}"))),
    }
}
