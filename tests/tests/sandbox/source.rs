//! Components that are compiled from a source package of Debian's: from the archive's signed index to a `.deb`.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::process::{Command, Output};

use builder::base::progress::Silent;
use builder::base::{Digest, Result};
use builder::build::executor::{BuildResults, StepResult, build};
use builder::build::planner::components;
use builder::build::steps::StepRunner;
use builder::host::checkout::Project;
use builder::host::sandbox::Sandbox;
use builder::lock::Lock;
use builder::plan::{self, CompileStep, Plan, Step, StepId};
use builder::rootfs::{Builder, Timeouts};
use builder::store::Store;
use macro_rules_attribute::apply;
use serde_json::Value;
use tempfile::TempDir;
use tests::cli::program;
use tests::system::{copy_sources, fetch_debian, lock};
use tests::tools::{put, run, said, succeed, tool};
use tests::trial;

/// Two small programs of Debian's, out of one source package that wants a compiler and no more.
const SOURCE: &str = r#"
about = "Large letters made of ordinary ones"
needs = ["gcc", "libc6-dev", "make"]
command = ["make", "figlet", "chkfont"]
outputs = ["figlet", "chkfont"]
"#;

const COMMAND: &str = r#"["make", "figlet", "chkfont"]"#;

const PROGRAMS: [&str; 2] = ["chkfont", "figlet"];

fn component(program: &str) -> String {
    format!(
        "about = \"Large letters\"\nlicence = \"BSD-3-Clause\"\n\n[from.source]\npackage = \"figlet\"\n\n[package]\nname = \
         \"{program}\"\nfiles.\"usr/bin/{program}\" = {{ mode = 0o755 }}\n"
    )
}

fn pin(program: &str) -> String {
    format!("[pins.{program}]\nversion = \"2.2.5\"\nsource-at-least = \"2.2.5-3\"\n\n")
}

/// A checkout with those components, locked and fetched as far as it needs.
struct TestProject {
    project: Project,
    lock: Lock,
    store: Store,
    folder: TempDir,
}

fn test() -> Result<TestProject> {
    let folder = tempfile::tempdir().expect("a folder");
    let top = folder.path().join("checkout");
    copy_sources(&top);
    put(top.join("recipes/sources/figlet.toml"), SOURCE);
    for program in PROGRAMS {
        put(top.join(format!("recipes/components/{program}.toml")), component(program));
    }
    let (project, store) = (Project::at(&top), Store::open(&folder.path().join("store"))?);
    let line = top.join(format!("recipes/lines/{}.toml", project.default_line()?));
    let text = std::fs::read_to_string(&line).expect("a line");
    let pins: String = PROGRAMS.map(pin).concat();
    put(line, text.replacen("[rules.", &format!("{pins}[rules."), 1));
    // Read anew, now that the line is another.
    let project = Project::at(&top);
    let recipe = project.recipe(&project.default_line()?)?;
    let lock = lock(&project, &recipe, &store)?;
    project.write_lock(&lock)?;
    let lock = project.lock(&recipe)?;
    let mut part = lock.clone();
    part.packages.retain(|_, package| package.wanted_by.contains("source-figlet"));
    assert!(part.packages.len() > 20, "what the build needs");
    fetch_debian(&part, &store)?;
    Ok(TestProject { project, lock, store, folder })
}

impl TestProject {
    /// A plan of the packages, by the recipe as it is now.
    fn plan(&self) -> Plan {
        let project = Project::at(self.project.root());
        let files = project.files().expect("files");
        let planned = project
            .recipe(&self.lock.line)
            .and_then(|recipe| components::plan(files, &recipe, &self.lock, &self.store));
        planned.unwrap_or_else(|fault| panic!("{fault}")).plan
    }

    fn build(&self, plan: &Plan) -> BuildResults {
        let runner = StepRunner {
            store: &self.store,
            checkout: self.project.root().to_owned(),
            toolchain: tests::checkout::toolchain(),
            progress: Box::new(Silent),
        };
        build(plan, &runner, NonZero::new(2).unwrap()).unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// Writes the source package's recipe.
    fn source(&self, text: &str) {
        put(self.project.root().join("recipes/sources/figlet.toml"), text);
    }

    fn xtask(&self, words: &[&str]) -> Output {
        let mut xtask = Command::new(program());
        xtask.args(words).env("HALE_STORE", self.store.root()).env("HALE_ROOT", self.project.root());
        run(&mut xtask)
    }
}

#[apply(trial)]
fn a_source_package_becomes_packages() {
    let test = test().unwrap_or_else(|fault| panic!("{fault}"));
    let plan = test.plan();
    let compiles: Vec<_> = plan.iter().filter(|(_, step)| matches!(step.step, Step::Compile(_))).collect();
    assert_eq!(compiles.len(), 1, "one compile serves them all");
    let built = test.build(&plan);
    let folder = test.folder.path().join("packages");
    for program in PROGRAMS {
        let deb = plan.find(&format!("deb {program}")).expect("a package is planned").0;
        let package = test.store.path_of(&built[&deb].0.digest());
        succeed(tool("dpkg-deb", "dpkg").arg("-x").arg(package).arg(&folder));
    }
    let version = succeed(Command::new(folder.join("usr/bin/figlet")).arg("-I1"));
    assert_eq!(String::from_utf8_lossy(&version), "20205\n", "figlet 2.2.5 says its version");
    let output = run(&mut Command::new(folder.join("usr/bin/chkfont")));
    assert!(said(&output).contains("chkfont"), "chkfont says who it is: {output:?}");
    compiled_again(&test, &plan);
    only_what_changed_is_made(&test, &plan);
    what_goes_wrong_is_told(&test);
    checked(&test);
}

/// A second time it has the same bytes, with nothing kept.
fn compiled_again(test: &TestProject, planned: &Plan) {
    let (id, compile) = planned.find("compile figlet").expect("a step");
    let Step::Compile(CompileStep { source, root, compilation, epoch }) = &compile.step else {
        panic!("another step")
    };
    let digest = |step| test.store.output(step).unwrap().expect("it was made").digest();
    let files: BTreeMap<String, Digest> =
        source.iter().map(|(name, step)| (name.clone(), digest(step))).collect();
    let sandbox = Sandbox::of_this_program().unwrap();
    let builder =
        Builder { store: &test.store, sandbox: &sandbox, epoch: *epoch, limits: Timeouts::default() };
    let again = builder.compile(&digest(root), &files, compilation).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(plan::Output::Tree { tree: again }, test.store.output(&id).unwrap().unwrap());
}

/// Nothing as long as nothing changes; what comes after the compiling, but not its root, when its recipe does.
fn only_what_changed_is_made(test: &TestProject, plan: &Plan) {
    let ways = |plan: &Plan| {
        let made = |(id, (_, way)): (StepId, (_, StepResult))| {
            (way == StepResult::Built).then(|| plan.get(&id).unwrap().label.clone())
        };
        test.build(plan).into_iter().filter_map(made).collect::<BTreeSet<String>>()
    };
    assert!(ways(plan).is_empty());
    test.source(&format!("{SOURCE}environment.CFLAGS = \"-O1\"\n"));
    let labels =
        ["compile figlet", "components", "deb chkfont", "deb figlet", "payload chkfont", "payload figlet"];
    assert_eq!(ways(&test.plan()), labels.map(str::to_owned).into());
    test.source(SOURCE);
    assert!(ways(&test.plan()).is_empty(), "the first packages are still there");
}

/// By the verb that a person uses: what failed, what it said last, and where to mend it.
fn what_goes_wrong_is_told(test: &TestProject) {
    let failed = "compile figlet: compiling failed";
    for (from, to, told) in [
        (COMMAND, r#"["make", "of-nothing"]"#, [failed, "(exit status: 2)", "No rule to make target"]),
        (COMMAND, r#"["cmake", "."]"#, [failed, "(exit status: 127)", "cmake: not found"]),
        (
            COMMAND,
            r#"["make", "figlet"]"#,
            ["compile figlet", "the build made no chkfont", "recipes/sources"],
        ),
        (r#""make"]"#, r#""make", "cmake"]"#, ["lock", "recipe", "cargo xtask lock"]),
    ] {
        test.source(&SOURCE.replacen(from, to, 1));
        let output = test.xtask(&["build", "components"]);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{to}: {text}");
        assert!(told.iter().all(|told| text.contains(told)), "{to}: {text}");
        assert!(!test.project.root().join("dist/components").exists(), "{to}: nothing half made is seen");
    }
    test.source(SOURCE);
    let output = test.xtask(&["build", "components"]);
    let packed = test.project.root().join("dist/components/chkfont_2.2.5+hale1_amd64.deb");
    assert!(output.status.success() && packed.exists(), "{}", said(&output));
}

/// `check components` compiles once more, in another place: yes, until the build notes the time.
fn checked(test: &TestProject) {
    let git = |words: &[&str]| succeed(tool("git", "git").args(words).current_dir(test.project.root()));
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    let output = test.xtask(&["check", "components", "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    let verdict: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&verdict["role"], &verdict["parting"]), (&Value::from("components"), &Value::Null));
    // Sources, compilers, their root, and what became of them.
    assert!(verdict["agree"].as_u64().is_some_and(|agree| agree > 25), "{verdict}");
    assert!(verdict["missing"].to_string().contains("kubelet"), "{verdict}");
    let timed = "[\"sh\", \"-c\", \"make figlet chkfont && date +%N >> figlet\"]";
    test.source(&SOURCE.replace(COMMAND, timed));
    let output = test.xtask(&["check", "components", "--json"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("step `compile figlet`") && text.contains("made other bytes"), "{text}");
}
