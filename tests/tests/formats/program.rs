//! `hale` as a package: the same bytes wherever it is compiled, static, small, and what dpkg reads in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use builder::base::Epoch;
use builder::host::cargo::{self, BuiltDeb};
use tests::checkout::{copy, top};
use tests::tools::{succeed, tool};

fn output(command: &mut Command) -> String {
    String::from_utf8(succeed(command)).expect("UTF-8")
}

fn build(checkout: &Path) -> BuiltDeb {
    cargo::build(checkout, &tests::checkout::toolchain(), Epoch::new(1_700_000_000).unwrap())
        .unwrap_or_else(|fault| panic!("{fault}"))
}

#[test]
fn two_places_give_the_same_package() {
    let elsewhere = tempfile::tempdir().unwrap();
    let other = elsewhere.path().join("a longer path than the checkout's own");
    copy(&other);
    // Of the user's own settings for cargo, which it finds above the checkout too, none reaches the program.
    let settings = "[profile.node]\nopt-level = 1\ndebug-assertions = true\noverflow-checks = true\n\
                    lto = false\n[profile.release]\ndebug = 2\n";
    let file = elsewhere.path().join(".cargo/config.toml");
    std::fs::create_dir(elsewhere.path().join(".cargo")).unwrap();
    for parts in
        ["[profile.node.package.\"*\"]\nopt-level = 0\n", "[profile.release.build-override]\nopt-level = 3\n"]
    {
        std::fs::write(&file, [settings, parts].concat()).unwrap();
        let fault = cargo::build(&other, &tests::checkout::toolchain(), Epoch::new(1_700_000_000).unwrap())
            .unwrap_err();
        assert!(fault.exit_code() == 2 && fault.what().contains(file.to_str().unwrap()), "{fault}");
    }
    std::fs::write(&file, settings).unwrap();
    assert_eq!(
        cargo::identity(top(), &tests::checkout::toolchain()).unwrap(),
        cargo::identity(&other, &tests::checkout::toolchain()).unwrap()
    );
    let (here, there) = (build(top()), build(&other));
    assert_eq!(here.version, there.version);
    assert!(here.deb == there.deb, "hale_{} differs between two paths", here.version);
    std::fs::write(other.join("node/src/more.rs"), "").unwrap();
    assert_ne!(
        cargo::identity(top(), &tests::checkout::toolchain()).unwrap(),
        cargo::identity(&other, &tests::checkout::toolchain()).unwrap()
    );
    check_package(elsewhere.path(), &here);
}

fn check_package(scratch: &Path, package: &BuiltDeb) {
    let deb = scratch.join("hale.deb");
    std::fs::write(&deb, &package.deb).unwrap();
    let (deb, root) = (deb.to_str().unwrap(), scratch.join("root"));
    let control = ["-f", deb, "Package", "Version", "Architecture", "Depends"];
    let fields = output(tool("dpkg-deb", "dpkg").args(control));
    assert_eq!(fields, format!("Package: hale\nVersion: {}\nArchitecture: amd64\n", package.version));
    succeed(tool("dpkg-deb", "dpkg").args(["-x", deb]).arg(&root));
    let hale = root.join("usr/bin/hale");
    let size = hale.metadata().unwrap().len();
    assert!(size < 4 << 20, "hale has {size} bytes");
    let headers = output(tool("readelf", "binutils").arg("-lW").arg(&hale));
    assert!(!headers.contains("INTERP") && !headers.contains("DYNAMIC"), "hale is linked dynamically");
    assert_eq!(std::fs::read_link(root.join("usr/lib/hale/crun")).unwrap(), Path::new("../../bin/hale"));
    check_page(&root, &hale);
    let version = output(Command::new(&hale).arg("--version"));
    assert!(package.version.starts_with(version.trim().strip_prefix("hale ").unwrap()), "{version}");
    let text = std::fs::read(&hale).unwrap();
    for own in [top().into(), scratch.into(), home("CARGO_HOME", ".cargo"), home("RUSTUP_HOME", ".rustup")] {
        let own = own.as_os_str().as_encoded_bytes();
        let found = text.windows(own.len()).any(|window| window == own);
        assert!(!found, "hale names {}", String::from_utf8_lossy(own));
    }
}

/// The manual page that the units name: without a warning of groff's, and with a word on every verb.
fn check_page(root: &Path, hale: &Path) {
    let mut man = tool("man", "man-db");
    man.args(["--warnings", "--local-file"]).arg(root.join("usr/share/man/man1/hale.1.gz"));
    let shown = tests::tools::run(&mut man);
    assert!(shown.status.success() && shown.stderr.is_empty(), "{}", tests::tools::said(&shown));
    let page = String::from_utf8(shown.stdout).expect("UTF-8");
    let help = output(Command::new(hale).arg("--help"));
    let verbs =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let verbs: Vec<&str> = verbs.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(verbs.len() > 8, "{help}");
    for verb in verbs.into_iter().filter(|verb| *verb != "help") {
        assert!(page.contains(&format!("hale {verb}")), "no word on `hale {verb}`");
    }
}

/// Where the toolchain keeps what `variable` names. Not `HOME` itself: root's is a word of our own sources.
fn home(variable: &str, usual: &str) -> PathBuf {
    let usual = || Path::new(&std::env::var_os("HOME").expect("HOME is set")).join(usual);
    std::env::var_os(variable).map_or_else(usual, PathBuf::from)
}
