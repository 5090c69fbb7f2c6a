//! Removes from a root tree the traces of the run that made it: a table of rules with reasons.

use crate::base::tree::{Contents, Kind, Memory, Node, Tree, TreePath};
use crate::base::{Epoch, Fault, Result};

/// The effect of a rule on the paths that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// The path goes, and what is below it.
    Drop,
    /// Files and links below the path go; folders stay.
    Clear,
    /// The file stays, without bytes.
    Empty,
    /// Nothing, whatever a later rule says.
    Keep,
}

/// A rule: which paths, what happens, why.
struct Rule {
    /// A path, and all that is below it; in its last part `*` stands for any text, once.
    path: &'static str,
    act: Act,
    /// Read by people and by the test that wants one for every rule.
    #[cfg_attr(not(test), expect(dead_code, reason = "the table is its own documentation"))]
    why: &'static str,
}

const fn rule(path: &'static str, act: Act, why: &'static str) -> Rule {
    Rule { path, act, why }
}

/// The table. The first rule that matches a path decides.
const RULES: [Rule; 30] = [
    rule("etc/machine-id", Act::Empty, "each machine makes its own at first boot (machine-id(5))"),
    rule("var/lib/dbus/machine-id", Act::Drop, "a second copy of /etc/machine-id"),
    rule("etc/hostname", Act::Drop, "belongs to the machine; taken over from the sandbox"),
    rule("etc/resolv.conf", Act::Drop, "belongs to the machine's network"),
    rule("etc/ssh/ssh_host_*", Act::Drop, "a key that every machine would share"),
    rule("etc/ssl/private/*", Act::Drop, "a key that every machine would share"),
    rule("var/lib/systemd/random-seed", Act::Drop, "a seed that every machine would share"),
    rule("var/lib/systemd/credential.secret", Act::Drop, "a key that every machine would share"),
    rule("etc/passwd-", Act::Drop, "a backup of an unfinished state"),
    rule("etc/group-", Act::Drop, "a backup of an unfinished state"),
    rule("etc/shadow-", Act::Drop, "a backup of an unfinished state"),
    rule("etc/gshadow-", Act::Drop, "a backup of an unfinished state"),
    rule("etc/subuid-", Act::Drop, "a backup of an unfinished state"),
    rule("etc/subgid-", Act::Drop, "a backup of an unfinished state"),
    rule("etc/.pwd.lock", Act::Drop, "a lock that nobody holds"),
    rule("var/lib/dpkg/*-old", Act::Drop, "a backup of an unfinished state"),
    rule("var/lib/dpkg/lock*", Act::Drop, "a lock that nobody holds"),
    rule("var/lib/dpkg/triggers/Lock", Act::Drop, "a lock that nobody holds"),
    rule("var/cache/debconf/*-old", Act::Drop, "a backup of an unfinished state"),
    rule("var/cache/debconf", Act::Keep, "debconf's answers and templates, which upgrades ask for"),
    rule("var/cache", Act::Clear, "made again when needed; ldconfig's holds inode numbers and times"),
    rule("var/log", Act::Clear, "tells of the build, with its times"),
    rule("var/lib/apt/lists", Act::Clear, "indices of the day"),
    rule("var/backups", Act::Clear, "copies of what is there"),
    rule("var/tmp", Act::Clear, "left over"),
    rule("tmp", Act::Clear, "left over"),
    rule("run", Act::Clear, "does not outlive a boot"),
    rule("dev", Act::Clear, "the kernel's"),
    rule("proc", Act::Clear, "the kernel's"),
    rule("sys", Act::Clear, "the kernel's"),
];

/// What the table says about a path.
fn act(path: &str) -> Act {
    RULES.iter().find(|rule| rule.covers(path)).map_or(Act::Keep, |rule| rule.act)
}

impl Rule {
    fn covers(&self, path: &str) -> bool {
        // Nearly every path is somewhere else, and a whole tree is asked about.
        let start = self.path.split_once('*').map_or(self.path, |(start, _)| start);
        if !path.starts_with(start) {
            return false;
        }
        let (mut pattern, mut parts) = (self.path.split('/').peekable(), path.split('/'));
        while let Some(part) = pattern.next() {
            let Some(found) = parts.next() else { return false };
            let last = pattern.peek().is_none();
            let fits = match part.split_once('*') {
                Some((head, tail)) if last => {
                    found.len() >= head.len() + tail.len() && found.starts_with(head) && found.ends_with(tail)
                }
                _ => found == part,
            };
            if !fits {
                return false;
            }
        }
        // What is emptied or cleared is the named path or below it, never a neighbour.
        self.act != Act::Empty || parts.next().is_none()
    }
}

/// Returns whether a changed path will not be in the scrubbed tree, so that its bytes need not be kept.
pub(super) fn drops(path: &str, is_dir: bool) -> bool {
    match act(path) {
        Act::Drop => true,
        Act::Clear => !is_dir,
        Act::Empty | Act::Keep => false,
    }
}

/// Applies the table, and sets the days of password changes to the epoch's. New files' bytes go to `new`.
pub(super) fn scrub(tree: &mut Tree, contents: &dyn Contents, epoch: Epoch, new: &mut Memory) -> Result<()> {
    let found: Vec<(TreePath, bool)> =
        tree.iter().map(|(path, node)| (path.clone(), node.is_dir())).collect();
    for (path, is_dir) in found {
        if drops(path.as_str(), is_dir) {
            tree.remove(&path);
        } else if act(path.as_str()) == Act::Empty && !is_dir {
            set_bytes(tree, &path, Vec::new(), new)?;
        }
    }
    let Some(Node { kind: Kind::File { content, .. }, .. }) = tree.get("etc/shadow") else { return Ok(()) };
    let text = String::from_utf8(contents.read(content)?);
    let text = text.map_err(|_| Fault::integrity("/etc/shadow is no UTF-8"))?;
    set_bytes(tree, &TreePath::new("etc/shadow")?, shadow(&text, epoch), new)
}

/// Gives a file other bytes; they go to `new`.
pub(super) fn set_bytes(
    tree: &mut Tree,
    path: &TreePath,
    bytes: impl Into<Vec<u8>>,
    new: &mut Memory,
) -> Result<()> {
    let Some(node) = tree.get_mut(path.as_str()) else { return Ok(()) };
    node.kind = new.file(bytes, 0).kind;
    Ok(())
}

/// The third field is the day of the last change (shadow(5)); useradd takes it from the clock.
fn shadow(text: &str, epoch: Epoch) -> String {
    let day = (epoch.seconds() / 86_400).to_string();
    let line = |line: &str| {
        let mut fields: Vec<&str> = line.split(':').collect();
        if let Some(changed) = fields.get_mut(2).filter(|changed| !changed.is_empty()) {
            *changed = &day;
        }
        fields.join(":") + "\n"
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_reason_and_is_reached() {
        for rule in &RULES {
            assert!(!rule.why.is_empty(), "{}", rule.path);
            assert_eq!(
                act(&rule.path.replace('*', "x")),
                rule.act,
                "{} is hidden by another rule",
                rule.path
            );
        }
    }

    #[test]
    fn the_table_reaches_what_it_should() {
        for (path, is_dir, expect) in [
            ("etc/ssh/ssh_host_rsa_key", false, true),
            ("etc/ssh/sshd_config", false, false),
            ("etc/passwd", false, false),
            ("etc/passwd-", false, true),
            ("var/cache/apt/pkgcache.bin", false, true),
            ("var/cache/apt", true, false),
            ("var/cache/debconf/config.dat", false, false),
            ("var/cache/debconf/config.dat-old", false, true),
            ("var/lib/dpkg/status-old", false, true),
            ("var/lib/dpkg/status", false, false),
            ("var/lib/dpkg/info/x-old", false, false),
            ("run", true, false),
            ("runner/x", false, false),
            ("etc/machine-id", false, false),
        ] {
            assert_eq!(drops(path, is_dir), expect, "{path}");
        }
    }

    #[test]
    fn scrubbing() {
        let (mut tree, mut new) = (Tree::new(), Memory::default());
        let mut put = |path: &str, text: &str, new: &mut Memory| {
            let node = new.file(text, 0o640);
            tree.insert(TreePath::new(path).unwrap(), node).unwrap();
        };
        put("etc/machine-id", "0123\n", &mut new);
        put("etc/shadow", "root:*:19000:0:99999:7:::\nann:!::0::::\n", &mut new);
        put("var/log/dpkg.log", "now\n", &mut new);
        let contents = new.clone();
        scrub(&mut tree, &contents, Epoch::new(86_400 * 20_000).unwrap(), &mut new).unwrap();
        let bytes = |path: &str| match &tree.get(path).unwrap().kind {
            Kind::File { content, .. } => String::from_utf8(new.read(content).unwrap()).unwrap(),
            kind => panic!("{kind:?}"),
        };
        assert_eq!(bytes("etc/machine-id"), "");
        assert_eq!(bytes("etc/shadow"), "root:*:20000:0:99999:7:::\nann:!::0::::\n");
        assert!(tree.get("var/log/dpkg.log").is_none() && tree.get("var/log").is_some());
        assert_eq!(tree.get("etc/shadow").unwrap().mode, 0o640);
    }
}
