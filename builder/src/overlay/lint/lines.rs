//! Formats of one entry a line: sysusers.d, tmpfiles.d, sysctl.d, modules-load.d, modprobe.d, environment files,
//! and apt's two.

use std::ops::Range;

use crate::base::Result;
use crate::base::text::{SourceText, one_of};
use crate::formats::debian::control::ControlText;

/// A line that is neither empty nor a comment, without white space around it.
#[derive(Clone, Debug)]
pub(super) struct ConfigLine<'a> {
    pub(super) text: &'a str,
    /// Its offset in the file.
    pub(super) start: usize,
}

impl<'a> ConfigLine<'a> {
    pub(super) fn span(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    /// Its words; a quoted one is one word.
    fn words(&self) -> Vec<ConfigLine<'a>> {
        let mut words = Vec::new();
        let (mut begin, mut quoted) = (None, false);
        for (at, c) in self.text.char_indices().chain([(self.text.len(), ' ')]) {
            quoted ^= c == '"';
            match begin {
                None if !c.is_whitespace() => begin = Some(at),
                Some(from) if c.is_whitespace() && !quoted => {
                    words.push(ConfigLine { text: &self.text[from..at], start: self.start + from });
                    begin = None;
                }
                _ => {}
            }
        }
        words
    }
}

/// Returns the lines that are neither empty nor comments.
pub(super) fn lines<'a>(text: SourceText<'a>, comments: &[&str]) -> Vec<ConfigLine<'a>> {
    let mut start = 0;
    let mut found = Vec::new();
    for whole in text.text.split_inclusive('\n') {
        let line = whole.trim();
        if !line.is_empty() && !comments.iter().any(|mark| line.starts_with(mark)) {
            found.push(ConfigLine { text: line, start: start + whole.find(line).unwrap_or(0) });
        }
        start += whole.len();
    }
    found
}

/// Kernel parameters that a node may set: Linux 6.1's Documentation/admin-guide/sysctl, Debian's one more, and
/// br_netfilter's.
const SYSCTLS: &[&str] = &[
    "dev.tty.ldisc_autoload",
    "fs.inotify.max_user_instances",
    "fs.inotify.max_user_watches",
    "fs.protected_fifos",
    "fs.protected_hardlinks",
    "fs.protected_regular",
    "fs.protected_symlinks",
    "fs.suid_dumpable",
    "kernel.dmesg_restrict",
    "kernel.kexec_load_disabled",
    "kernel.keys.root_maxbytes",
    "kernel.keys.root_maxkeys",
    "kernel.kptr_restrict",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.perf_event_paranoid",
    "kernel.pid_max",
    "kernel.sysrq",
    "kernel.unprivileged_bpf_disabled",
    "kernel.unprivileged_userns_clone",
    "kernel.yama.ptrace_scope",
    "net.bridge.bridge-nf-call-arptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.bridge.bridge-nf-call-iptables",
    "net.core.bpf_jit_harden",
    "net.ipv4.conf.all.arp_ignore",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "user.max_user_namespaces",
    "vm.max_map_count",
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "vm.swappiness",
    "vm.unprivileged_userfaultfd",
];

/// Modules that a node may ask for.
const MODULES: &[&str] = &[
    "br_netfilter",
    "erofs",
    "ip_vs",
    "ip_vs_rr",
    "ip_vs_sh",
    "ip_vs_wrr",
    "loop",
    "nf_conntrack",
    "overlay",
    "xt_comment",
    "xt_conntrack",
    "xt_MASQUERADE",
];

/// Modules that a node may do without, although it has the device or systemd asks for them.
const UNWANTED: &[&str] = &[
    "autofs4",
    "ip_tables",
    "kvm",
    "kvm_amd",
    "kvm_intel",
    "pcspkr",
    "powernow_k8",
    "psmouse",
    "qemu_fw_cfg",
];

/// Variables of `/etc/default/kubelet`.
const VARIABLES: &[&str] = &["KUBELET_EXTRA_ARGS"];

/// Checks a file of sysctl.d(5): `name = value`.
pub(super) fn sysctl(text: SourceText<'_>) -> Result<()> {
    lines(text, &["#", ";"]).iter().try_for_each(|line| {
        let (key, value) = pair(text, line)?;
        known(text, &key, SYSCTLS)?;
        match value.text.parse::<i64>() {
            Ok(_) => Ok(()),
            Err(_) => Err(text.fault(value.span(), format!("`{}` takes a number", key.text))),
        }
    })
}

/// Checks a file of modules-load.d(5): a name a line.
pub(super) fn modules(text: SourceText<'_>) -> Result<()> {
    lines(text, &["#", ";"]).iter().try_for_each(|line| known(text, line, MODULES))
}

/// Checks a file of modprobe.d(5), as far as we use it: `blacklist NAME`.
pub(super) fn modprobe(text: SourceText<'_>) -> Result<()> {
    lines(text, &["#"]).iter().try_for_each(|line| match &line.words()[..] {
        [command, name] => {
            known(text, command, &["blacklist"])?;
            known(text, name, UNWANTED)
        }
        _ => Err(text.fault(line.span(), "not `blacklist NAME`")),
    })
}

/// Checks an environment file (systemd.exec(5)): `NAME=value`.
pub(super) fn environment(text: SourceText<'_>) -> Result<()> {
    lines(text, &["#", ";"]).iter().try_for_each(|line| known(text, &pair(text, line)?.0, VARIABLES))
}

fn pair<'a>(text: SourceText<'_>, line: &ConfigLine<'a>) -> Result<(ConfigLine<'a>, ConfigLine<'a>)> {
    let Some((key, value)) = line.text.split_once('=') else {
        return Err(text.fault(line.span(), "not `name = value`"));
    };
    let value_start = line.start + line.text.len() - value.trim_start().len();
    Ok((
        ConfigLine { text: key.trim_end(), start: line.start },
        ConfigLine { text: value.trim(), start: value_start },
    ))
}

fn known(text: SourceText<'_>, word: &ConfigLine<'_>, names: &[&str]) -> Result<()> {
    if names.contains(&word.text) { Ok(()) } else { Err(text.unknown_key(word.span(), word.text, names)) }
}

/// Checks a file of sysusers.d(5): `u NAME ID "COMMENT" HOME SHELL`, `g NAME ID`. Ids are given, never found.
pub(super) fn sysusers(text: SourceText<'_>) -> Result<()> {
    lines(text, &["#"]).iter().try_for_each(|line| {
        let words = line.words();
        known(text, &words[0], &["u", "g"])?;
        let lengths = if words[0].text == "u" { 4..=6 } else { 3..=3 };
        if !lengths.contains(&words.len()) {
            let expected = "`u NAME ID \"COMMENT\" HOME SHELL` or `g NAME ID`";
            return Err(text
                .fault(line.span(), "an entry of another form")
                .expected_found(expected, words.len()));
        }
        let ids: Vec<_> = words[2].text.split(':').map(str::parse::<u32>).collect();
        if ids.len() > 2 || ids.iter().any(std::result::Result::is_err) {
            return Err(text
                .fault(words[2].span(), "not an id")
                .expected_found("ID or UID:GID", words[2].text));
        }
        match words.get(5) {
            Some(shell) if shell.text != "/usr/sbin/nologin" => Err(text
                .fault(shell.span(), "a shell for somebody who never logs in")
                .expected_found("/usr/sbin/nologin", shell.text)),
            _ => Ok(()),
        }
    })
}

/// Checks a file of tmpfiles.d(5): `TYPE PATH MODE USER GROUP AGE`, of the types that only make what is missing.
pub(super) fn tmpfiles(text: SourceText<'_>) -> Result<()> {
    lines(text, &["#"]).iter().try_for_each(|line| {
        let words = line.words();
        known(text, &words[0], &["d", "L", "z"])?;
        let [_, path, mode, _, _, age] = &words[..] else {
            return Err(text.fault(line.span(), "not `TYPE PATH MODE USER GROUP AGE`"));
        };
        if !path.text.starts_with('/') || path.text.split('/').any(|part| part == "..") {
            return Err(text.fault(path.span(), "not an absolute path"));
        }
        if mode.text.len() != 4 || u16::from_str_radix(mode.text, 8).is_err() {
            return Err(text.fault(mode.span(), "not a mode").expected_found("four octal digits", mode.text));
        }
        match age.text {
            "-" => Ok(()),
            _ => Err(text
                .fault(age.span(), "an age would delete what pods keep")
                .expected_found("-", age.text)),
        }
    })
}

/// The options that a mount of ours may have (fstab(5), systemd.mount(5)).
const MOUNT_OPTIONS: &[&str] = &["errors=remount-ro", "ro", "rw"];

/// Checks fstab(5): `LABEL=NAME PLACE TYPE OPTIONS 0 PASS`. A disk is known by its label: its name depends on the
/// machine.
pub(super) fn fstab(text: SourceText<'_>) -> Result<()> {
    lines(text, &["#"]).iter().try_for_each(|line| {
        let words = line.words();
        let [device, _, kind, options, dump, pass] = &words[..] else {
            return Err(text.fault(line.span(), "not `LABEL=NAME PLACE TYPE OPTIONS 0 PASS`"));
        };
        known(text, &pair(text, device)?.0, &["LABEL"])?;
        known(text, kind, &["ext4", "vfat"])?;
        known(text, dump, &["0"])?;
        known(text, pass, &["0", "1", "2"])?;
        let mut start = options.start;
        options.text.split(',').try_for_each(|option| {
            let word = ConfigLine { text: option, start };
            start += option.len() + 1;
            known(text, &word, MOUNT_OPTIONS)
        })
    })
}

/// Checks a file of repart.d(5): one partition, found by its type.
pub(super) fn repart(text: SourceText<'_>) -> Result<()> {
    section(text, "[Partition]", &["Type", "Weight"])
}

/// Checks journald.conf(5): how much is kept, and how soon it is.
pub(super) fn journald(text: SourceText<'_>) -> Result<()> {
    section(text, "[Journal]", &["RuntimeMaxUse", "SyncIntervalSec", "SystemMaxFileSize", "SystemMaxUse"])
}

/// One section, and keys that are known.
fn section(text: SourceText<'_>, name: &str, keys: &[&str]) -> Result<()> {
    let lines = lines(text, &["#"]);
    match lines.split_first() {
        Some((head, rest)) if head.text == name => {
            rest.iter().try_for_each(|line| known(text, &pair(text, line)?.0, keys))
        }
        _ => Err(text.fault(0..0, format!("no `{name}` at the top"))),
    }
}

const PREFERENCES: &[&str] = &["Explanation", "Package", "Pin", "Pin-Priority"];

/// Checks a file of apt_preferences(5).
pub(super) fn apt_preferences(text: SourceText<'_>) -> Result<()> {
    let source = ControlText::user(text.file, text.text);
    for paragraph in source.paragraphs() {
        let mut found = Vec::new();
        let span = paragraph.clone();
        for field in source.fields(paragraph) {
            let field = field?;
            let name = field.name;
            let word = ConfigLine { text: name, start: field.span.start };
            known(text, &word, PREFERENCES)?;
            let value = field.text();
            if name == "Pin-Priority" && value.parse::<i32>().is_err() {
                return Err(text
                    .fault(word.span(), "not a priority")
                    .expected_found("a whole number", value));
            }
            if name == "Pin"
                && !["release ", "version ", "origin "].iter().any(|kind| value.starts_with(kind))
            {
                return Err(text
                    .fault(word.span(), "not a pin")
                    .expected_found("release, version or origin", value));
            }
            found.push(name);
        }
        if let Some(missing) = PREFERENCES[1..].iter().find(|name| !found.contains(name)) {
            return Err(text.fault(span, format!("`{missing}` is missing")));
        }
    }
    Ok(())
}

const APT_OPTIONS: &[&str] = &["Unattended-Upgrade::Package-Blacklist"];

/// Checks a file of apt.conf(5), as far as we use it: `Option { "value"; … };`.
pub(super) fn apt_conf(text: SourceText<'_>) -> Result<()> {
    let mut open = false;
    for line in lines(text, &["//", "#"]) {
        match line.text {
            "};" if open => open = false,
            value if open => {
                let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix("\";"));
                if inner.is_none_or(|inner| inner.is_empty() || inner.contains('"')) {
                    return Err(text.fault(line.span(), "not a value").expected_found("\"VALUE\";", value));
                }
            }
            head => {
                let name = head.strip_suffix(" {").unwrap_or(head);
                known(text, &ConfigLine { text: name, start: line.start }, APT_OPTIONS)?;
                if name == head {
                    return Err(text.fault(line.span(), format!("`{name}` is {}", one_of(&["NAME {"]))));
                }
                open = true;
            }
        }
    }
    if open { Err(text.fault(text.text.len()..text.text.len(), "`};` is missing")) } else { Ok(()) }
}

/// Returns the spans of the first word of every line that is a key in one of these formats.
#[cfg(test)]
pub(super) fn keys(text: SourceText<'_>) -> Vec<Range<usize>> {
    let is_key = |line: &ConfigLine<'_>| !line.text.starts_with(['"', '}', '[']);
    let key = |line: ConfigLine<'_>| {
        let end = line.text.find([' ', '=', '\t']).unwrap_or(line.text.len());
        let end = line.text[..end].strip_suffix(':').map_or(end, str::len);
        line.start..line.start + end
    };
    lines(text, &["#", ";", "//"]).into_iter().filter(is_key).map(key).collect()
}
