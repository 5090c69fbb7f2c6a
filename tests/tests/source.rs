//! A component that is compiled from a source package of Debian's: from the archive's signed index to a `.deb`.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::process::ExitCode;

use builder::base::{Class, Digest, Result};
use builder::build::build;
use builder::components;
use builder::lock::Lock;
use builder::plan::{Output, Plan, Step};
use builder::progress::{Progress, Show, Unit};
use builder::project::Project;
use builder::recipe::Recipe;
use builder::root::{Builder, Limits};
use builder::sandbox::{Sandbox, VERB, helper};
use builder::source_build::Compilation;
use builder::store::Store;
use builder::tree::TreePath;
use builder::workshop::Shop;
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use tempfile::TempDir;
use tests::cli::program;
use tests::system::{copy_sources, fetch_debian, lock};
use tests::tools::{put, run, said, succeed, tool};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == VERB) {
        return helper(words.next());
    }
    let trial = Trial::test("a_source_package_becomes_a_package", || {
        a_source_package_becomes_a_package();
        Ok(())
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

/// A small program of Debian's that wants a compiler and no more.
const SOURCE: &str = r#"
about = "Large letters made of ordinary ones"
needs = ["gcc", "libc6-dev", "make"]
command = ["make", "figlet"]
outputs = ["figlet"]
"#;

const COMPONENT: &str = r#"
about = "Large letters made of ordinary ones"
licence = "BSD-3-Clause"

[from.source]
package = "figlet"

[package]
name = "figlet"
files."usr/bin/figlet" = { mode = 0o755 }
"#;

const PIN: &str = "[pins.figlet]\nversion = \"2.2.5\"\nsource-at-least = \"2.2.5-3\"\n\n[rules.";

/// A checkout with that component, locked and fetched as far as it needs.
struct World {
    project: Project,
    recipe: Recipe,
    lock: Lock,
    store: Store,
    folder: TempDir,
}

fn world() -> Result<World> {
    let folder = tempfile::tempdir().expect("a folder");
    let top = folder.path().join("checkout");
    copy_sources(&top);
    put(top.join("recipes/sources/figlet.toml"), SOURCE);
    put(top.join("recipes/components/figlet.toml"), COMPONENT);
    let (project, store) = (Project::at(&top), Store::open(&folder.path().join("store"))?);
    let line = top.join(format!("recipes/lines/{}.toml", project.default_line()?));
    let text = std::fs::read_to_string(&line).expect("a line");
    put(line, text.replacen("[rules.", PIN, 1));
    let recipe = project.recipe(&project.default_line()?)?;
    let lock = lock(&project, &recipe, &store)?;
    project.write_lock(&lock)?;
    let lock = project.lock(&recipe)?;
    let mut part = lock.clone();
    part.packages.retain(|_, package| package.wanted_by.contains("source-figlet"));
    assert!(part.packages.len() > 20, "what the build needs");
    fetch_debian(&part, &store)?;
    Ok(World { project, recipe, lock, store, folder })
}

fn a_source_package_becomes_a_package() {
    let world = world().unwrap_or_else(|fault| panic!("{fault}"));
    let planned = components::plan(&world.project.files().unwrap(), &world.recipe, &world.lock, &world.store);
    let mut plan = planned.unwrap_or_else(|fault| panic!("{fault}")).plan;
    let deb = plan.find("deb figlet").expect("a package is planned").0;
    plan.want(deb);
    let progress = Progress::new(Show::Nothing, Unit::Steps, 0);
    let shop = Shop { store: &world.store, checkout: world.project.root().to_owned(), progress };
    let built = build(&plan, &shop, NonZero::new(2).unwrap()).unwrap_or_else(|fault| panic!("{fault}"));
    let folder = world.folder.path().join("package");
    let package = world.store.path_of(&built[&deb].0.digest());
    succeed(tool("dpkg-deb", "dpkg").arg("-x").arg(package).arg(&folder));
    let said = succeed(std::process::Command::new(folder.join("usr/bin/figlet")).arg("-I1"));
    assert_eq!(String::from_utf8_lossy(&said), "20205\n", "figlet 2.2.5 says its version");
    compiled_again(&world, &plan);
    checked(&world);
}

/// `check components` compiles once more, in another place: yes, until the build notes the time.
fn checked(world: &World) {
    let git = |words: &[&str]| succeed(tool("git", "git").args(words).current_dir(world.project.root()));
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    let check = || {
        let mut check = std::process::Command::new(program());
        check.args(["check", "components", "--json"]).env("HALE_STORE", world.store.root());
        run(check.env("HALE_ROOT", world.project.root()))
    };
    let output = check();
    assert!(output.status.success(), "{}", said(&output));
    let verdict: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&verdict["role"], &verdict["parting"]), (&Value::from("components"), &Value::Null));
    // Sources, compilers, their root, and what became of them.
    assert!(verdict["agree"].as_u64().is_some_and(|agree| agree > 25), "{verdict}");
    assert!(verdict["missing"].to_string().contains("kubelet"), "{verdict}");
    let recipe = world.project.root().join("recipes/sources/figlet.toml");
    let timed = "command = [\"sh\", \"-c\", \"make figlet && date +%N >> figlet\"]";
    put(recipe, SOURCE.replace("command = [\"make\", \"figlet\"]", timed));
    let output = check();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("step `compile figlet`") && text.contains("made other bytes"), "{text}");
}

/// Again it has the same bytes; and what goes wrong is told.
fn compiled_again(world: &World, plan: &Plan) {
    let (id, compile) = plan.find("compile figlet").expect("a step");
    let Step::Compile { source, root, compilation, epoch } = &compile.step else { panic!("another step") };
    let digest = |step| world.store.output(step).unwrap().expect("it was made").digest();
    let files: BTreeMap<String, Digest> =
        source.iter().map(|(name, step)| (name.clone(), digest(step))).collect();
    let sandbox = Sandbox::of_this_program().unwrap();
    let builder =
        Builder { store: &world.store, sandbox: &sandbox, epoch: *epoch, limits: Limits::default() };
    let compile = |compilation: &Compilation| builder.compile(&digest(root), &files, compilation);
    let again = compile(compilation).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(Output::Tree { tree: again }, world.store.output(&id).unwrap().unwrap());
    let other = |command: &[&str], output: &str| {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let outputs = [TreePath::new(output).unwrap()].into();
        compile(&Compilation { command, outputs, ..compilation.clone() }).unwrap_err()
    };
    let fault = other(&["true"], "figlet");
    assert!(fault.class() == Class::User && fault.what() == "the build made no figlet", "{fault}");
    let fault = other(&["make", "nothing-that-is-there"], "figlet");
    assert!(fault.to_string().contains("compiling failed"), "{fault}");
}
