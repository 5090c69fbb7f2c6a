//! Holds: dpkg's own mark on each pinned package, so that no `dist-upgrade` moves it.

use std::time::Duration;

use crate::fault::{Fault, Result};
use crate::role::Role;
use crate::world::{Call, World};

const MARK: &str = "/usr/bin/apt-mark";
/// How long another package manager may be at work.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Holds every pinned package that is installed, and says which are held now.
pub fn hold(world: &dyn World, role: &Role, wait: bool) -> Result<Vec<String>> {
    mark(world, "hold", &installed(world, role)?, wait)
}

/// Lets them go: the supported way out.
pub fn unhold(world: &dyn World, role: &Role, wait: bool) -> Result<Vec<String>> {
    mark(world, "unhold", &installed(world, role)?, wait)
}

/// The packages that are held, of any kind.
pub fn held(world: &dyn World) -> Result<Vec<String>> {
    let text = world.ask(&Call::new(MARK, &["showhold"]))?;
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

/// Name and version of the pinned packages that are installed.
pub fn versions(world: &dyn World, role: &Role) -> Result<Vec<(String, String)>> {
    let names = role.packages.iter().map(|package| package.name.as_str());
    let arguments: Vec<&str> =
        ["-W", "-f", "${Package} ${Version} ${db:Status-Status}\\n"].into_iter().chain(names).collect();
    // It ends with 1 when one of them is unknown, and tells of the others.
    let ran = world.run(&Call::new("/usr/bin/dpkg-query", &arguments))?;
    let line = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        [name, version, "installed"] => Some((name.to_owned(), version.to_owned())),
        _ => None,
    };
    Ok(ran.stdout.lines().filter_map(line).collect())
}

fn installed(world: &dyn World, role: &Role) -> Result<Vec<String>> {
    Ok(versions(world, role)?.into_iter().map(|(name, _)| name).collect())
}

/// Marks; another package manager at work is waited for, if `wait` says so.
fn mark(world: &dyn World, how: &str, names: &[String], wait: bool) -> Result<Vec<String>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let names_only: Vec<&str> = names.iter().map(String::as_str).collect();
    let call = Call::new(MARK, &[&[how], names_only.as_slice()].concat());
    let step = Duration::from_secs(5);
    let mut left = PATIENCE;
    loop {
        let ran = world.run(&call)?;
        if ran.success() {
            return Ok(names.to_vec());
        }
        let busy = ["dpkg frontend lock", "Could not get lock", "is another process using it"];
        let busy = busy.iter().any(|part| ran.stderr.contains(part));
        match left.checked_sub(step) {
            Some(rest) if busy && wait => left = rest,
            _ if busy => return Err(Fault::passing("dpkg is busy").mend("try again, or `hale hold --wait`")),
            _ => return Err(Fault::machine(format!("apt-mark {how} failed: {}", ran.stderr.trim()))),
        }
        world.pause(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    #[test]
    fn only_what_is_installed_is_held_and_dpkg_is_waited_for() {
        let role = Role::parse(include_str!("../examples/role.toml")).unwrap();
        let world = Fake::new();
        world.installed.borrow_mut().insert("crun".into(), "1.8.1-1+deb12u1".into());
        world.dpkg_busy.set(3);
        assert!(hold(&world, &role, false).unwrap_err().to_string().contains("dpkg is busy"));
        assert_eq!(hold(&world, &role, true).unwrap(), ["crun"]);
        assert_eq!(held(&world).unwrap(), ["crun"]);
        assert_eq!(unhold(&world, &role, true).unwrap(), ["crun"]);
        assert!(held(&world).unwrap().is_empty());
    }
}
