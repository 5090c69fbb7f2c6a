use super::*;
use crate::base::text::SourceText;

fn check(text: &str, expect: Option<&str>) {
    let name = ComponentName::new("thing").unwrap();
    let fault = ComponentRecipe::parse(name, SourceText::new("recipes/components/thing.toml", text)).err();
    let told = fault.map(|fault| fault.to_string());
    assert_eq!(told.is_none(), expect.is_none(), "{text}\n{told:?}");
    assert!(expect.is_none_or(|e| told.as_deref().unwrap_or("").contains(e)), "{text}\n{told:?}");
}

#[test]
fn where_it_comes_from_decides_what_it_may_become() {
    let head = "about = \"A thing\"\nlicence = \"MIT\"\n";
    let apt = format!("{head}[from.apt]\npackage = \"thing\"\n");
    let image = format!("{head}[from.image]\nregistry = \"registry.example\"\nrepository = \"a/thing\"\n");
    let deb = "[package]\nname = \"thing\"\nfiles.\"usr/bin/thing\" = { mode = 0o755 }\n";
    let file = format!(
        "{head}[from.url]\naddress = \"https://example.org/{{version}}/{{arch}}\"\narchive = \"none\"\n"
    );
    check(&apt, None);
    check(&image, None);
    check(&format!("{file}{deb}"), None);
    check(&format!("{apt}[image]\nname = \"thing\"\nprograms = [\"usr/bin/thing\"]\n"), None);
    check(&file, Some("the files it installs"));
    // One file, several lines: each pin chooses.
    let many = file
        .replace("[from.url]", "[from.apt]\npackage = \"thing\"\n[from.provided]\nhow = \"so\"\n[from.url]");
    check(&format!("{many}{deb}"), None);
    let offered = ComponentRecipe::parse(
        ComponentName::new("thing").unwrap(),
        SourceText::new("x", &format!("{many}{deb}")),
    );
    let product = |kind| offered.as_ref().ok()?.choose(kind).map(|component| component.becomes);
    assert_eq!(product(OriginKind::Debian), Some(Product::AsIs));
    assert!(matches!(product(OriginKind::Provided), Some(Product::Deb(_))));
    assert_eq!(product(OriginKind::Image), None);
    let compiled = format!("{head}[from.source]\npackage = \"thing\"\n");
    check(&format!("{compiled}{deb}"), None);
    check(&compiled, Some("the files it installs"));
    check(&compiled.replace("package", "name"), Some("unknown key `name`"));
    let built = "[image]\nname = \"thing\"\nprograms = [\"usr/bin/thing\"]\n";
    check(&format!("{image}{built}"), Some("an image is used as it is"));
    check(&format!("{many}{built}"), None);
    check(
        &format!("{many}{built}").replace("[\"usr/bin/thing\"]", "[\"usr/bin/a\", \"usr/bin/b\"]"),
        Some("no `entrypoint`"),
    );
    check(&format!("{many}{built}").replace("[\"usr/bin/thing\"]", "[]"), Some("an image without programs"));
    check(&format!("{many}{deb}{built}"), Some("either a package or an image"));
    check(&format!("{apt}{deb}"), Some("Debian's is used as it is"));
    check(&format!("{image}{deb}"), Some("an image is used as it is"));
    check(&apt.replace("apt", "atp"), Some("unknown key `atp`"));
    check(&apt.replace("A thing", ""), Some("not one line"));
    check(&format!("{file}{deb}").replace("{arch}", "{cpu}"), Some("unknown placeholder `{cpu}`"));
    check(&format!("{file}{deb}").replace("https://", "ftp://"), Some("not an address"));
    check(&format!("{file}{deb}").replace("0o755", "0o4755"), Some("a mode that no program"));
    check(&format!("{file}{deb}").replace("usr/bin", "../bin"), Some("a path that cannot be"));
    check(&image.replace("a/thing", "a//thing"), Some("not a repository"));
    check(&image.replace("registry.example", "user@registry"), Some("not a registry's host"));
}
