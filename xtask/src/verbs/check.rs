//! `cargo xtask check ROLE`, or `components`: builds again, into an empty store and under other conditions, and
//! compares.

use std::fs;
use std::path::Path;
use std::process::Command;

use builder::base::name::LineName;
use builder::base::tree::Contents;
use builder::base::{Fault, Result};
use builder::build::planner::BuildTarget;
use builder::build::planner::bundle;
use builder::build::planner::components;
use builder::build::planner::system;
use builder::dist::compare::builds::{self, BuildRecord};
use builder::dist::repository::COMPONENTS;
use builder::host::checkout::Project;
use builder::plan::{Output, Plan, Step};
use builder::store::Store;
use clap::Args;
use serde::Serialize;

use crate::checkout;
use crate::context::Context;
use crate::run::realise;
use crate::target::{Jobs, Target};
use crate::ui::table;

/// Arguments of `check`.
#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    target: Target,
    /// Build the disk again too, from the root up, of what can be installed.
    #[arg(long)]
    image: bool,
}

/// What a check tells.
#[derive(Serialize)]
struct Verdict {
    role: String,
    /// What was other in the second build, as it saw it itself.
    conditions: Vec<String>,
    /// Outputs that are the same.
    agree: usize,
    /// The first step that is not.
    parting: Option<String>,
    /// Components that were not built, since their bytes are not here.
    missing: Vec<String>,
}

/// The second build's surroundings. Each line that it prints proves a condition.
const CONDITIONS: &str = r#"umask 077
printf 'umask %s\nuser %s:%s\nhost %s\ntime zone %s\nlocale %s\nfolder %s\n' "$(umask)" "$(id -u)" "$(id -g)" \
"$(uname -n)" "$TZ" "$LC_ALL" "$HALE_ROOT" > "$1"; shift; exec "$@""#;

/// Another host name, and then other ids, in namespaces of their own (unshare(1)): only a namespace's root
/// may name the host, so there are two.
const OTHER: [&str; 6] = ["--user", "--map-root-user", "--uts", "--", "sh", "-c"];
const HOST: &str = r#"echo elsewhere > /proc/sys/kernel/hostname &&
exec unshare --user --map-user=1111 --map-group=2222 -- sh -c "$@""#;

/// Something that is built twice.
enum Subject {
    /// A role's packages.
    Role(BuildTarget),
    /// A role's disk, from the root up, of what can be installed.
    Disk(BuildTarget),
    /// The packages of a line's components and images whose bytes are here.
    Components(Project, LineName),
}

impl Subject {
    fn name(&self) -> String {
        match self {
            Self::Role(target) | Self::Disk(target) => target.role.to_string(),
            Self::Components(..) => COMPONENTS.to_owned(),
        }
    }

    /// The same of a copy of the checkout.
    fn of(&self, copy: &Path) -> Self {
        let project = Project::at(copy);
        match self {
            Self::Role(target) => Self::Role(BuildTarget { project, ..target.clone() }),
            Self::Disk(target) => Self::Disk(BuildTarget { project, ..target.clone() }),
            Self::Components(_, line) => Self::Components(project, line.clone()),
        }
    }

    /// The steps, and components that are missing.
    fn plan(&self, store: &Store) -> Result<(Plan, Vec<String>)> {
        match self {
            Self::Role(target) => Ok((bundle::plan(target, store)?.plan, Vec::new())),
            Self::Disk(target) => Ok((system::plan(target, store)?.plan, Vec::new())),
            Self::Components(project, line) => {
                let recipe = project.recipe(line)?;
                let lock = project.lock(&recipe)?;
                let planned = components::plan(project.files()?, &recipe, &lock, store)?;
                if planned.goal.is_none() {
                    let fault = Fault::user(format!("no component of line {line} is here"));
                    return Err(fault.help(format!("cargo xtask fetch {line}, or cargo xtask input add")));
                }
                let missing = planned.missing.keys().map(ToString::to_string);
                Ok((planned.plan, missing.collect()))
            }
        }
    }

    /// The verb that builds it, and its arguments.
    fn words(&self) -> Vec<String> {
        let (verb, line) = match self {
            Self::Role(target) => (&["build"][..], &target.line),
            Self::Disk(target) => (&["image", "--without-components"][..], &target.line),
            Self::Components(_, line) => (&["build"][..], line),
        };
        let words = verb.iter().map(|word| (*word).to_owned());
        words.chain([self.name(), "--line".to_owned(), line.to_string()]).collect()
    }
}

impl Check {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let store = Store::open(&context.store)?;
        for subject in self.subjects(context)? {
            let (plan, missing) = subject.plan(&store)?;
            realise(context, &store, &plan, Jobs::default())?;
            let verdict = Verdict { missing, ..again(context, &subject, &plan, &store)? };
            verdict.show(context)?;
            if let Some(parting) = verdict.parting {
                return Err(Fault::integrity("two builds of one checkout differ").cause(parting));
            }
        }
        Ok(())
    }

    fn subjects(&self, context: &Context) -> Result<Vec<Subject>> {
        let project = context.project()?;
        let mut subjects = Vec::new();
        if self.target.has_roles() {
            let subject = if self.image { Subject::Disk } else { Subject::Role };
            subjects.extend(self.target.targets(context)?.into_iter().map(subject));
        }
        if self.target.has_components() {
            let line = self.target.line(project)?;
            subjects.push(Subject::Components(project.clone(), line));
        }
        Ok(subjects)
    }
}

/// The command that builds again. What is made in a sandbox needs the ids of who may have one: it is built
/// again by the same user.
fn second(subject: &Subject, plan: &Plan, store: &Path, proof: &Path) -> Result<Command> {
    let program = std::env::current_exe().map_err(|e| Fault::machine("cannot find this program").cause(e))?;
    let sandboxed = |step: &Step| matches!(step, Step::Root(_) | Step::Install(_) | Step::Compile(_));
    let mut child = if plan.iter().any(|(_, planned)| sandboxed(&planned.step)) {
        let mut child = Command::new("sh");
        child.args(["-c", CONDITIONS, "sh"]);
        child
    } else {
        let mut child = Command::new("unshare");
        child.args(OTHER).args([HOST, "sh", CONDITIONS, "sh"]);
        child
    };
    child.arg(proof).arg(program).arg("--store").arg(store).args(subject.words()).args(["--jobs", "1"]);
    child.env("TZ", "Pacific/Kiritimati").env("LC_ALL", "tr_TR.UTF-8");
    child.env("SOURCE_DATE_EPOCH", "1").current_dir("/");
    Ok(child)
}

fn again(context: &Context, subject: &Subject, plan: &Plan, store: &Store) -> Result<Verdict> {
    let scratch = tempfile::Builder::new().prefix("hale check \u{fc} ").tempdir();
    let scratch = scratch.map_err(|e| Fault::machine("no scratch directory").cause(e))?;
    let copy = scratch.path().join("a path with spaces");
    checkout::copy(context.root()?, &copy)?;
    let (other, proof) = (scratch.path().join("store"), scratch.path().join("conditions"));
    hand_over_inputs(plan, store, &Store::open(&other)?)?;
    let output = second(subject, plan, &other, &proof)?.env("HALE_ROOT", &copy).output();
    let output = output.map_err(|e| Fault::io("run", "unshare", e).help("apt-get install util-linux"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Fault::machine("the second build failed").cause(said));
    }
    let conditions = fs::read_to_string(&proof).map_err(|e| Fault::io("read", &proof, e))?;
    let other = Store::open(&other)?;
    let second = subject.of(&copy).plan(&other)?.0;
    let compared =
        builds::compare(&BuildRecord { plan, store }, &BuildRecord { plan: &second, store: &other })?;
    let (agree, parting) =
        compared.map_or_else(|parting| (0, Some(parting.to_string())), |agree| (agree, None));
    let conditions = conditions.lines().map(str::to_owned).collect();
    Ok(Verdict { role: subject.name(), conditions, agree, parting, missing: Vec::new() })
}

/// Inputs are known by their checksums; a second build that fetched them again would prove nothing more.
pub(crate) fn hand_over_inputs(plan: &Plan, from: &Store, to: &Store) -> Result<()> {
    for (id, planned) in plan.iter() {
        if let (Step::Input(_), Some(output @ Output::Blob { content, .. })) =
            (&planned.step, from.output(&id)?)
        {
            to.put(from.open(&content)?)?;
            to.record(&id, &output)?;
        }
    }
    Ok(())
}

impl Verdict {
    fn show(&self, context: &Context) -> Result<()> {
        if context.json {
            return table::json(self);
        }
        println!("{}: built again, with", self.role);
        for condition in &self.conditions {
            println!("  {condition}");
        }
        println!("  one job, a store of inputs alone, the checkout's files made in another order");
        if self.parting.is_none() {
            println!("{} outputs, all the same", self.agree);
        }
        if !self.missing.is_empty() {
            println!("not here, so not built: {}", self.missing.join(", "));
        }
        Ok(())
    }
}
