//! systemd units and their drop-ins: sections and keys as systemd 252 knows them, as far as we use them
//! (systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.resource-control(5)).

use std::collections::BTreeSet;

use super::lines::{ConfigLine, lines};
use crate::base::Result;
use crate::base::text::SourceText;

const UNIT: &[&str] = &[
    "After",
    "AssertPathExists",
    "Before",
    "BindsTo",
    "ConditionFileIsExecutable",
    "ConditionPathExists",
    "ConditionPathIsDirectory",
    "ConditionPathIsReadWrite",
    "ConditionFileNotEmpty",
    "ConditionVirtualization",
    "Conflicts",
    "DefaultDependencies",
    "Description",
    "Documentation",
    "OnFailure",
    "PartOf",
    "RefuseManualStart",
    "RefuseManualStop",
    "Requires",
    "RequiresMountsFor",
    "Requisite",
    "StartLimitBurst",
    "StartLimitIntervalSec",
    "StopWhenUnneeded",
    "Upholds",
    "Wants",
];

const SERVICE: &[&str] = &[
    "AmbientCapabilities",
    "BindPaths",
    "BindReadOnlyPaths",
    "BusName",
    "CapabilityBoundingSet",
    "CPUAccounting",
    "CPUQuota",
    "CPUWeight",
    "Delegate",
    "DeviceAllow",
    "DevicePolicy",
    "DynamicUser",
    "Environment",
    "EnvironmentFile",
    "ExecCondition",
    "ExecReload",
    "ExecStart",
    "ExecStartPost",
    "ExecStartPre",
    "ExecStop",
    "ExecStopPost",
    "Group",
    "IPAddressAllow",
    "IPAddressDeny",
    "InaccessiblePaths",
    "KeyringMode",
    "KillMode",
    "KillSignal",
    "LimitCORE",
    "LimitNOFILE",
    "LimitNPROC",
    "LockPersonality",
    "LogsDirectory",
    "MemoryAccounting",
    "MemoryDenyWriteExecute",
    "MemoryHigh",
    "MemoryMax",
    "Nice",
    "NoExecPaths",
    "NoNewPrivileges",
    "NotifyAccess",
    "OOMPolicy",
    "OOMScoreAdjust",
    "PIDFile",
    "PassEnvironment",
    "PrivateDevices",
    "PrivateIPC",
    "PrivateMounts",
    "PrivateNetwork",
    "PrivateTmp",
    "PrivateUsers",
    "ProcSubset",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectProc",
    "ProtectSystem",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "RemainAfterExit",
    "RemoveIPC",
    "Restart",
    "RestartPreventExitStatus",
    "RestartSec",
    "RestrictAddressFamilies",
    "RestrictFileSystems",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "RootDirectory",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
    "RuntimeMaxSec",
    "SecureBits",
    "Slice",
    "StandardError",
    "StandardInput",
    "StandardOutput",
    "StateDirectory",
    "StateDirectoryMode",
    "SupplementaryGroups",
    "SuccessExitStatus",
    "SyslogIdentifier",
    "SystemCallArchitectures",
    "SystemCallErrorNumber",
    "SystemCallFilter",
    "SystemCallLog",
    "TTYPath",
    "TasksMax",
    "TimeoutSec",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "Type",
    "UMask",
    "UnsetEnvironment",
    "User",
    "WatchdogSec",
    "WorkingDirectory",
];

const TIMER: &[&str] = &[
    "AccuracySec",
    "OnActiveSec",
    "OnBootSec",
    "OnCalendar",
    "OnUnitActiveSec",
    "OnUnitInactiveSec",
    "Persistent",
    "RandomizedDelaySec",
    "Unit",
];

const MOUNT: &[&str] = &["DirectoryMode", "LazyUnmount", "Options", "TimeoutSec", "Type", "What", "Where"];

const INSTALL: &[&str] = &["Alias", "Also", "RequiredBy", "WantedBy"];

/// Keys that may stand more than once, because each adds to a list, as every `Exec…` does.
const LISTS: &[&str] = &[
    "After",
    "Before",
    "BindPaths",
    "BindReadOnlyPaths",
    "CapabilityBoundingSet",
    "DeviceAllow",
    "Documentation",
    "Environment",
    "EnvironmentFile",
    "InaccessiblePaths",
    "OnCalendar",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "Requires",
    "SystemCallFilter",
    "Wants",
    "WantedBy",
];

const YES_NO: &[&str] = &["yes", "no"];

/// Keys with few possible values.
const VALUES: &[(&str, &[&str])] = &[
    ("KillMode", &["control-group", "mixed", "process", "none"]),
    ("LazyUnmount", YES_NO),
    ("LockPersonality", YES_NO),
    ("MemoryDenyWriteExecute", YES_NO),
    ("NoNewPrivileges", YES_NO),
    ("PrivateDevices", YES_NO),
    ("PrivateNetwork", YES_NO),
    ("PrivateTmp", YES_NO),
    ("ProtectClock", YES_NO),
    ("ProtectControlGroups", YES_NO),
    ("ProtectHome", &["yes", "no", "read-only", "tmpfs"]),
    ("ProtectHostname", YES_NO),
    ("ProtectKernelLogs", YES_NO),
    ("ProtectKernelModules", YES_NO),
    ("ProtectKernelTunables", YES_NO),
    ("ProtectSystem", &["yes", "no", "full", "strict"]),
    ("RemainAfterExit", YES_NO),
    ("Restart", &["no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"]),
    ("RestrictRealtime", YES_NO),
    ("RestrictSUIDSGID", YES_NO),
    ("Type", &["simple", "exec", "forking", "oneshot", "dbus", "notify", "idle"]),
];

/// The sections, and the keys of each.
pub(super) const SECTIONS: &[(&str, &[&str])] =
    &[("Unit", UNIT), ("Service", SERVICE), ("Timer", TIMER), ("Mount", MOUNT), ("Install", INSTALL)];

/// Refuses a section or key that systemd would skip with a warning, and a value it would not take.
pub(super) fn check(text: SourceText<'_>) -> Result<()> {
    let mut section: Option<(&str, &[&str])> = None;
    let mut seen = BTreeSet::new();
    for line in joined(text) {
        if let Some(name) = line.text.strip_prefix('[') {
            let name = name.strip_suffix(']').unwrap_or(name);
            let known: Vec<_> = SECTIONS.iter().map(|(name, _)| *name).collect();
            let found = SECTIONS.iter().find(|(known, _)| *known == name);
            let found = found.ok_or_else(|| text.unknown_key(line.span(), name, &known))?;
            section = Some(*found);
            continue;
        }
        let Some((name, known)) = section else {
            return Err(text.fault(line.span(), "a line before the first [section]"));
        };
        let Some((key, value)) = line.text.split_once('=') else {
            return Err(text.fault(line.span(), "not `Key=value`"));
        };
        let span = line.start..line.start + key.len();
        if !known.contains(&key) {
            return Err(text.unknown_key(span, key, known));
        }
        // Of several conditions all must hold (systemd.unit(5), "Conditions and Asserts").
        let repeats = ["Exec", "Condition", "Assert"].iter().any(|kind| key.starts_with(kind));
        if !seen.insert((name, key.to_owned())) && !repeats && !LISTS.contains(&key) {
            return Err(text.fault(span, format!("`{key}` stands here twice")).help("take one out"));
        }
        // A mount's type is a file system's name (mount(8)).
        let is_free = (name, key) == ("Mount", "Type");
        if let Some((_, allowed)) = VALUES.iter().find(|(name, _)| *name == key && !is_free)
            && !allowed.contains(&value)
        {
            let fault = text.fault(line.span(), format!("`{key}` has a value that it cannot have"));
            return Err(fault.expected_found(crate::base::text::one_of(allowed), format!("`{value}`")));
        }
    }
    Ok(())
}

/// Lines that a backslash carries on are one.
fn joined(text: SourceText<'_>) -> Vec<ConfigLine<'_>> {
    let mut carried = false;
    let mut kept = Vec::new();
    for line in lines(text, &["#", ";"]) {
        if !carried {
            kept.push(line.clone());
        }
        carried = line.text.ends_with('\\');
    }
    kept
}

/// Returns the spans of all keys.
#[cfg(test)]
pub(super) fn keys(text: SourceText<'_>) -> Vec<std::ops::Range<usize>> {
    let key = |line: ConfigLine<'_>| line.text.find('=').map(|end| line.start..line.start + end);
    joined(text).into_iter().filter(|line| !line.text.starts_with('[')).filter_map(key).collect()
}
