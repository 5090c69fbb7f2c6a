//! Maintainer scripts (Debian Policy 6): users, directories and units made; stopped; taken away again.
//!
//! They may run again and again, and in a root tree where no systemd runs.

use std::collections::BTreeMap;

use super::Overlay;
use crate::base::tree::TreePath;
use crate::base::{Fault, Result};

/// Shell, with the places of an overlay's own words in capitals and `@`.
const POSTINST: &str = r#"#!/bin/sh
set -e

[ "$1" = configure ] || exit 0
@SYSUSERS@@TMPFILES@@ENABLE@if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
@KERNEL@@START@fi
"#;

const ENABLE: &str = r#"for unit in @UNITS@; do
    deb-systemd-helper unmask "$unit" >/dev/null
    deb-systemd-helper enable "$unit" >/dev/null
    deb-systemd-helper update-state "$unit" >/dev/null
done
"#;

const KERNEL: &str = r#"    systemctl restart systemd-modules-load.service systemd-sysctl.service ||
        echo "hale: not every module or kernel parameter could be set; see systemctl --failed" >&2
"#;

const PRERM: &str = r#"#!/bin/sh
set -e

[ "$1" = remove ] || exit 0
if [ -d /run/systemd/system ]; then
    deb-systemd-invoke stop @UNITS@ >/dev/null
fi
"#;

const POSTRM: &str = r#"#!/bin/sh
set -e

if [ "$1" = remove ]; then
    :
@LEAVES@@MASK@fi
if [ "$1" = purge ]; then
    :
@PURGE@@LEAVES@@USER@fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
"#;

// Packages are purged in the order of their names: another one's empty directories went when it was removed.
const USER: &str = r#"    # Nobody's files may become the next owner's of the number.
    if getent passwd @USER@ >/dev/null && [ -z "$(
        find /etc /var -xdev \( -user @USER@ -o -group @USER@ \) -print -quit
    )" ]; then
        userdel @USER@
    fi
"#;

/// Writes the scripts, by dpkg's name for them. `names` are of the users that the overlay's sysusers file makes, if
/// it has one.
pub(super) fn scripts(overlay: &Overlay, names: &[String]) -> Result<BTreeMap<&'static str, String>> {
    let below = |folder: &str| -> Vec<&str> {
        let files = overlay.files.keys().map(TreePath::as_str);
        files.filter_map(|path| path.strip_prefix(folder)).collect()
    };
    let held = below("usr/lib/systemd/system/");
    if let Some(unit) = overlay.enable.iter().find(|unit| !held.contains(&unit.as_str())) {
        let what = format!("overlays/{}.toml enables `{unit}`, which it does not hold", overlay.name);
        return Err(Fault::user(what));
    }
    let words = |list: &std::collections::BTreeSet<String>| {
        list.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    };
    let units = words(&overlay.enable);
    let users = below("usr/lib/sysusers.d/").join(" ");
    let directories = below("usr/lib/tmpfiles.d/").join(" ");
    let when = |there: bool, text: String| if there { text } else { String::new() };
    let leaves: Vec<String> = overlay.leaves.iter().rev().map(|path| format!("/{path}")).collect();
    let has_kernel = !below("usr/lib/sysctl.d/").is_empty() || !below("usr/lib/modules-load.d/").is_empty();
    let postinst = POSTINST
        .replace("@SYSUSERS@", &when(!users.is_empty(), format!("systemd-sysusers {users}\n")))
        // 73: something could not be made, as in a root tree that is not booted.
        .replace(
            "@TMPFILES@",
            &when(
                !directories.is_empty(),
                format!("systemd-tmpfiles --create {directories} || [ $? -eq 73 ]\n"),
            ),
        )
        .replace("@ENABLE@", &when(!units.is_empty(), ENABLE.replace("@UNITS@", &units)))
        .replace("@KERNEL@", &when(has_kernel, KERNEL.to_owned()))
        .replace(
            "@START@",
            &when(
                !overlay.start.is_empty(),
                format!("    systemctl --no-block start {}\n", words(&overlay.start)),
            ),
        );
    let purge = format!(
        "    deb-systemd-helper purge {units} >/dev/null\n    deb-systemd-helper unmask {units} >/dev/null\n"
    );
    // What is not empty, or where something is mounted, stays.
    let remove = |path: &String| format!("    rmdir {path} 2>/dev/null || true\n");
    let postrm = POSTRM
        .replace(
            "@MASK@",
            &when(!units.is_empty(), format!("    deb-systemd-helper mask {units} >/dev/null\n")),
        )
        .replace("@PURGE@", &when(!units.is_empty(), purge))
        .replace("@LEAVES@", &leaves.iter().map(remove).collect::<String>())
        .replace(
            "@USER@",
            &when(
                !users.is_empty(),
                names.iter().map(|name| USER.replace("@USER@", name)).collect::<String>(),
            ),
        );
    let mut scripts = BTreeMap::from([("postinst", postinst), ("postrm", postrm)]);
    if !units.is_empty() {
        scripts.insert("prerm", PRERM.replace("@UNITS@", &units));
    }
    Ok(scripts)
}
