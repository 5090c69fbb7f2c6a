//! Where paths of a tree lead.

use super::{Kind, Tree, TreePath};
use crate::base::{Fault, Result};

/// More links in one path than this is a circle (path_resolution(7)).
const LINKS: usize = 40;

impl Tree {
    /// Follows links to the path at their end, absolute ones from the top of the tree, as a process with
    /// the tree as its root would find it; `None` when there is nothing. `pass` gets each link on the way.
    ///
    /// # Errors
    /// More than 40 links.
    pub fn follow(&self, path: &str, pass: &mut dyn FnMut(TreePath)) -> Result<Option<TreePath>> {
        let mut rest: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
        let (mut at, mut links): (Vec<String>, usize) = (Vec::new(), 0);
        while let Some(part) = rest.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    at.pop();
                    continue;
                }
                _ => at.push(part),
            }
            let here = at.join("/");
            match self.get(&here).map(|node| &node.kind) {
                None => return Ok(None),
                Some(Kind::Symlink { target }) => {
                    links += 1;
                    if links > LINKS {
                        return Err(Fault::integrity(format!("{path} leads round in a circle")));
                    }
                    pass(TreePath::new(here)?);
                    at.pop();
                    if target.starts_with('/') {
                        at.clear();
                    }
                    rest.extend(target.rsplit('/').map(str::to_owned));
                }
                Some(Kind::Dir | Kind::File { .. }) => {}
            }
        }
        if at.is_empty() { Ok(None) } else { TreePath::new(at.join("/")).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;
    use crate::base::tree::Node;

    #[test]
    fn links_stay_inside() {
        let mut tree = Tree::new();
        for (path, target) in [
            ("usr/bin/mtools", None),
            ("usr/bin/mcopy", Some("mtools")),
            ("usr/share/fw", Some("/usr/bin/../../usr/bin/mcopy")),
            ("bin", Some("usr/bin")),
            ("up", Some("../../../usr/bin/mtools")),
            ("loop", Some("loop")),
            ("gone", Some("/etc/nothing")),
        ] {
            let node = target.map_or_else(|| Node::file(Digest::of(""), 0, 0o755), Node::symlink);
            tree.insert(TreePath::new(path).unwrap(), node).unwrap();
        }
        let check = |path: &str, expect: Option<&str>| {
            let found = tree.follow(path, &mut |_| {}).unwrap();
            assert_eq!(found.as_ref().map(TreePath::as_str), expect, "{path}");
        };
        check("usr/bin/mtools", Some("usr/bin/mtools"));
        check("bin/mcopy", Some("usr/bin/mtools"));
        check("usr/share/fw", Some("usr/bin/mtools"));
        check("up", Some("usr/bin/mtools"));
        let mut passed = Vec::new();
        tree.follow("bin/mcopy", &mut |link| passed.push(link.to_string())).unwrap();
        assert_eq!(passed, ["bin", "usr/bin/mcopy"]);
        check("gone", None);
        check("usr/bin/none", None);
        assert!(tree.follow("loop", &mut |_| {}).is_err());
    }
}
