//! The index of kernel modules in the initramfs, with the devices that they drive.

use std::collections::BTreeMap;

use crate::fault::{Fault, Result};

struct Module {
    path: String,
    needs: Vec<String>,
}

/// Modules, and the patterns of the devices that they drive.
pub(super) struct ModuleIndex {
    modules: BTreeMap<String, Module>,
    aliases: Vec<(String, String)>,
    always: Vec<String>,
}

impl ModuleIndex {
    /// Parses lines of `module NAME PATH NEEDED…`, `alias PATTERN NAME` and `always NAME`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut index = Self { modules: BTreeMap::new(), aliases: Vec::new(), always: Vec::new() };
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["module", name, path, ref needs @ ..] => {
                    let needs = needs.iter().map(|need| (*need).to_owned()).collect();
                    index.modules.insert(name.to_owned(), Module { path: path.to_owned(), needs });
                }
                ["alias", pattern, name] => index.aliases.push((pattern.to_owned(), name.to_owned())),
                ["always", name] => index.always.push(name.to_owned()),
                _ => return Err(Fault::machine(format!("the index of modules has a line {line:?}"))),
            }
        }
        Ok(index)
    }

    /// Returns the modules that are loaded whatever the devices are.
    pub(super) fn always(&self) -> Vec<String> {
        self.always.clone()
    }

    /// Returns the modules for a device of this alias.
    pub(super) fn matching(&self, alias: &str) -> Vec<String> {
        let fits = |(pattern, _): &&(String, String)| fits(pattern.as_bytes(), alias.as_bytes());
        self.aliases.iter().filter(fits).map(|(_, name)| name.clone()).collect()
    }

    /// Returns a module, behind all that it needs.
    pub(super) fn with_needs(&self, name: &str) -> Vec<String> {
        let needs = self.modules.get(name).map_or(&[][..], |module| &module.needs);
        needs.iter().map(String::as_str).chain([name]).map(str::to_owned).collect()
    }

    /// Returns the path of a module.
    pub(super) fn path(&self, name: &str) -> Option<&str> {
        self.modules.get(name).map(|module| module.path.as_str())
    }
}

/// Returns whether a shell pattern (glob(7): `*`, `?`, `[a-z]`) matches a whole text.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|from| fits(rest, &text[from..])),
        ([b'[', rest @ ..], [first, left @ ..]) => match rest.iter().position(|byte| *byte == b']') {
            Some(end) => in_class(&rest[..end], *first) && fits(&rest[end + 1..], left),
            None => false,
        },
        ([b'?', rest @ ..], [_, left @ ..]) => fits(rest, left),
        ([wanted, rest @ ..], [first, left @ ..]) => wanted == first && fits(rest, left),
        _ => false,
    }
}

fn in_class(class: &[u8], byte: u8) -> bool {
    match class {
        [from, b'-', to, rest @ ..] => (*from..=*to).contains(&byte) || in_class(rest, byte),
        [one, rest @ ..] => *one == byte || in_class(rest, byte),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text, expected) in [
            ("virtio:d00000002v*", "virtio:d00000002v00001AF4", true),
            ("virtio:d00000002v*", "virtio:d00000003v00001AF4", false),
            ("pci:v*d*sv*sd*bc01sc06i01*", "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01", true),
            ("usb:v0421p0495d037[0-9]*dc*", "usb:v0421p0495d0370dc00", true),
            ("usb:v0421p0495d037[0-9]*dc*", "usb:v0421p0495d037Adc00", false),
            ("scsi:t-0x00*", "scsi:t-0x00", true),
            ("a?c", "abc", true),
            ("a?c", "abcd", false),
            ("[", "[", false),
            ("", "", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn needs_come_first_and_nonsense_is_refused() {
        let index =
            ModuleIndex::parse("module a lib/a.ko b c\nmodule b lib/b.ko\nalias x* a\nalways b").unwrap();
        assert_eq!(index.with_needs("a"), ["b", "c", "a"]);
        assert_eq!((index.matching("xy"), index.always()), (vec!["a".to_owned()], vec!["b".to_owned()]));
        assert_eq!((index.path("b"), index.path("c")), (Some("lib/b.ko"), None));
        assert!(ModuleIndex::parse("modules a").is_err());
    }
}
