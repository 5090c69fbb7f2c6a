use super::*;
use crate::base::Class;
use crate::base::Digest;
use crate::base::name::Arch;
use crate::base::name::SuiteName;
use crate::base::tree::TreePath;
use crate::formats::debian::index::packages::Priority;
use crate::formats::debian::relation;

/// Packages out of lines `name version; Field: value; ...`.
fn universe(text: &str) -> Result<Universe> {
    let packages = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| {
        let mut parts = line.split(';').map(str::trim);
        let (name, version) = parts.next().unwrap().split_once(' ').unwrap();
        let mut package = IndexEntry {
            name: PackageName::new(name).unwrap(),
            version: Version::new(version).unwrap(),
            arch: Arch::Amd64,
            suite: SuiteName::new("bookworm").unwrap(),
            essential: false,
            priority: Priority::Optional,
            depends: "".into(),
            conflicts: "".into(),
            provides: "".into(),
            path: TreePath::new(format!("pool/{name}_{version}.deb")).unwrap(),
            size: 1,
            digest: Digest::of(line),
        };
        for part in parts {
            match part.split_once(": ").unwrap() {
                ("D", value) => package.depends = value.into(),
                ("C", value) => package.conflicts = value.into(),
                ("P", value) => package.provides = value.into(),
                ("E", _) => package.essential = true,
                (field, _) => panic!("{field}"),
            }
        }
        package
    });
    Universe::new(packages.collect(), Arch::Amd64)
}

fn wanted(text: &str) -> Request {
    Request { clauses: relation::parse(text, Arch::Amd64).unwrap(), ..Request::default() }
}

fn solution(universe: &Universe, wanted: &Request) -> Result<String> {
    let packages = universe.solve(wanted)?;
    Ok(packages
        .iter()
        .map(|package| format!("{}={}", package.name, package.version))
        .collect::<Vec<_>>()
        .join(" "))
}

#[test]
fn solutions() {
    let world = universe(
        "app 1; D: lib (>= 1)
         app 2; D: lib (>= 2), mta | mail
         lib 1
         lib 2
         lib 3; D: zero:arm64
         mta 1; D: nowhere
         exim 1; P: mail; C: mail
         postfix 1; P: mail (= 3); C: mail
         base 1; E: yes
         init 1; D: base
         old 1; D: lib (<< 2)
         any 1; D: lib:any (>= 1)
         tie 1; D: postfix | exim
         self 1; P: me; C: me, self (<< 1)",
    )
    .unwrap();
    for (want, expect) in [
        ("lib", "lib=2"),
        ("app", "app=2 exim=1 lib=2"),
        ("app, postfix", "app=2 lib=2 postfix=1"),
        ("app (<< 2), old", "app=1 lib=1 old=1"),
        ("mail (>= 2)", "postfix=1"),
        ("tie", "postfix=1 tie=1"),
        ("any", "any=1 lib=2"),
        ("self", "self=1"),
        ("", ""),
    ] {
        assert_eq!(solution(&world, &wanted(want)).unwrap(), expect, "{want}");
    }
    let essential = Request { essential: true, ..wanted("lib") };
    assert_eq!(solution(&world, &essential).unwrap(), "base=1 lib=2");
    let keep = [(PackageName::new("lib").unwrap(), Version::new("1").unwrap())].into();
    let kept = Request { keep, ..wanted("lib") };
    assert_eq!(solution(&world, &kept).unwrap(), "lib=1");
}

#[test]
fn reasons() {
    let world = universe(
        "exim 1; P: mail; C: mail
         postfix 1; P: mail; C: mail
         app 1; D: lib (>= 5)
         lib 2
         bad 1; D: lib (>>> 1)",
    )
    .unwrap();
    for (want, class, parts) in [
        ("exim, postfix", Class::User, &["exim", "postfix"][..]),
        ("app", Class::User, &["app", "lib", ">= 5"]),
        ("none", Class::User, &["none"]),
        ("mail (>= 1)", Class::User, &["mail"]),
        ("bad", Class::Integrity, &["bad 1", "not a test"]),
    ] {
        let fault = universe_fault(&world, want);
        assert_eq!(fault.class(), class, "{want}: {fault}");
        for part in parts {
            assert!(fault.to_string().contains(part), "{want}: {part}: {fault}");
        }
    }
}

fn universe_fault(world: &Universe, want: &str) -> Fault {
    solution(world, &wanted(want)).expect_err(want)
}

#[test]
fn one_version_has_one_file() {
    let fault = universe("lib 1\nlib 1; D: other").unwrap_err();
    assert_eq!(fault.class(), Class::Integrity);
    assert_eq!(universe("lib 1\nlib 1").unwrap().versions("lib").count(), 1);
}
