//! Which ids outside stand for the ids inside (user_namespaces(7), subuid(5)).
//!
//! Inside are Debian's ids 0 to 65535, and one more if the job names one: the containers' root, who owns
//! folders on a node.

use std::path::Path;
use std::process::Command;

use crate::base::{Fault, Result};

/// Debian gives out ids up to 65535 (Debian Policy 9.2.2), so that many must exist inside. With root inside
/// being this user, as many subordinate ids leave one for the job's own.
pub(super) const COUNT: u32 = 65_536;

/// How ids are mapped for this user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IdMaps {
    /// By root: every id is itself.
    Same,
    /// By newuidmap and newgidmap: root inside is this user, the others are subordinate ids.
    Subordinate {
        /// This user's id and the first of its subordinate user ids.
        uid: (u32, u32),
        /// The same for groups.
        gid: (u32, u32),
    },
}

impl IdMaps {
    /// Returns the maps that the running user may have.
    pub(super) fn of_this_user() -> Result<Self> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if uid == 0 && may_map_all(&read("/proc/self/uid_map")?) {
            return Ok(Self::Same);
        }
        let name = user_name(&read("/etc/passwd")?, uid);
        let first = |file: &str| {
            subordinate(&read(file).unwrap_or_default(), name.as_deref(), uid).ok_or_else(|| {
                let name = name.clone().unwrap_or_else(|| uid.to_string());
                Fault::machine(format!("user {name} has no {COUNT} subordinate ids in {file}")).help(format!(
                    "as root, `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}`"
                ))
            })
        };
        Ok(Self::Subordinate { uid: (uid, first("/etc/subuid")?), gid: (gid, first("/etc/subgid")?) })
    }

    /// Maps the ids of the process `pid`, which has just entered a user namespace; `owner` is the one
    /// beyond Debian's.
    pub(super) fn write(&self, pid: u32, owner: Option<u32>) -> std::result::Result<(), String> {
        match self {
            Self::Same => ["uid_map", "gid_map"].into_iter().try_for_each(|file| {
                let path = format!("/proc/{pid}/{file}");
                let own = owner.map_or_else(String::new, |owner| format!("{owner} {owner} 1\n"));
                std::fs::write(&path, format!("0 0 {COUNT}\n{own}")).map_err(|e| format!("{path}: {e}"))
            }),
            Self::Subordinate { uid, gid } => {
                map("newuidmap", pid, *uid, owner)?;
                map("newgidmap", pid, *gid, owner)
            }
        }
    }
}

fn map(
    program: &str,
    pid: u32,
    (id, first): (u32, u32),
    owner: Option<u32>,
) -> std::result::Result<(), String> {
    let mut numbers = vec![pid, 0, id, 1, 1, first, COUNT - 1];
    numbers.extend(owner.into_iter().flat_map(|owner| [owner, first + COUNT - 1, 1]));
    let numbers = numbers.iter().map(u32::to_string);
    let output = Command::new(program).args(numbers).output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    std::fs::read_to_string(&path).map_err(|e| Fault::io("read", &path, e))
}

/// Whether a process with this uid_map sees the ids 0 to 65535, and so can hand them on.
fn may_map_all(uid_map: &str) -> bool {
    uid_map.lines().any(|line| {
        let numbers: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        matches!(numbers[..], [0, _, count] if count >= COUNT)
    })
}

fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(uid)).then(|| fields[0].to_owned())
    })
}

/// The first id of a large enough range for the user, by name or by number.
fn subordinate(text: &str, name: Option<&str>, uid: u32) -> Option<u32> {
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [who, first, count] = fields[..] else { return None };
        let ours = Some(who) == name || who.parse() == Ok(uid);
        let large = count.trim().parse().is_ok_and(|count: u32| count >= COUNT);
        if ours && large { first.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_number() {
        let subuid = "ann:5000:10\nann:100000:65536\n1001:200000:65536\n1002:300000:65535\nbad\n";
        assert_eq!(subordinate(subuid, Some("ann"), 1000), Some(100_000));
        assert_eq!(subordinate(subuid, Some("bob"), 1001), Some(200_000));
        assert_eq!(subordinate(subuid, Some("bob"), 1002), None);
        assert_eq!(subordinate("", None, 0), None);
        assert_eq!(user_name("root:x:0:0::/:/bin/sh\nann:x:1000:1000::/:/bin/sh\n", 1000).unwrap(), "ann");
    }

    #[test]
    fn root_of_a_small_namespace_may_not_map_all() {
        assert!(may_map_all("         0          0 4294967295\n"));
        assert!(may_map_all("         0     100000      65536\n"));
        assert!(!may_map_all("         0       1000          1\n         1     100000      65536\n"));
    }
}
