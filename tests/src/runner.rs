//! The runner of test programs whose tests share something costly, or are found while the program runs.
//!
//! A test is a function with `#[apply(trial)]` in any file of the program. It registers itself, and its name is that of
//! its module with its own behind it. One that takes a reference is handed the program's one value of that type
//! ([`Shared`]). The program's `main` is [`main`], because a sandbox calls its own program again.
//!
//! Files run one after another, as test programs do: machines and sandboxes of two files never share the processors.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use builder::host::sandbox::{VERB, helper};
pub use inventory::submit;
use libtest_mimic::{Arguments, Failed, Trial};

/// What tests of a file share: made by the first that asks for it, and dropped behind the file's last test.
pub trait Shared: Send + Sync + 'static {
    /// Makes the one value.
    fn make() -> Self;
}

type Value = Arc<dyn Any + Send + Sync>;
type Place = Arc<LazyLock<Value, fn() -> Value>>;

static SHARED: Mutex<BTreeMap<TypeId, Place>> = Mutex::new(BTreeMap::new());

fn places() -> MutexGuard<'static, BTreeMap<TypeId, Place>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the one value of a type. Where it could not be made, it is not tried again.
pub fn shared<T: Shared>() -> Arc<T> {
    let make: fn() -> Value = || Arc::new(T::make());
    let place =
        Arc::clone(places().entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(LazyLock::new(make))));
    let value: Value = Arc::clone(&**place);
    value.downcast().expect("a value is kept by its type")
}

/// A function that is a test: it takes nothing, or what it shares with others.
pub trait Test<Needed> {
    /// Runs it; a panic is its failure.
    fn run(self);
}

impl<F: Fn()> Test<()> for F {
    fn run(self) {
        self();
    }
}

impl<F: Fn(&T), T: Shared> Test<(T,)> for F {
    fn run(self) {
        self(&shared::<T>());
    }
}

/// A test that registered itself; [`trial!`] makes it.
#[derive(Debug)]
pub struct Registered {
    /// The path of its module, with the program's name before it.
    pub module: &'static str,
    /// The function's name.
    pub name: &'static str,
    /// Runs it.
    pub run: fn(),
}

inventory::collect!(Registered);

/// Makes a function a test of its program: `#[apply(trial)]`.
#[macro_export]
macro_rules! trial {
    ($(#[$about:meta])* $view:vis fn $name:ident $($rest:tt)*) => {
        $(#[$about])*
        $view fn $name $($rest)*

        $crate::runner::submit! {
            $crate::runner::Registered {
                module: module_path!(),
                name: stringify!($name),
                run: || $crate::runner::Test::run($name),
            }
        }
    };
}

/// What the runner must be told of a file.
#[derive(Debug)]
pub struct File {
    /// Its name in the program, without its end.
    pub name: &'static str,
    /// How many of its tests run at once; `None` for one a core.
    pub at_once: Option<usize>,
    /// Finds the tests that are no functions, such as scripts in a folder.
    pub found: fn() -> Vec<Trial>,
}

/// Runs every test of the program, and whoever else the program is when it is called by itself.
pub fn main(files: &[File]) -> ExitCode {
    // Before anything else: a sandbox's helper must be single-threaded, and its words are no filter.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == VERB) {
        return helper(words.next());
    }
    let arguments = Arguments::from_args();
    let mut registered = registered();
    let names: BTreeSet<&str> =
        files.iter().map(|file| file.name).chain(registered.keys().copied()).collect();
    let mut is_good = true;
    for name in names {
        let (mut arguments, mut trials) = (arguments.clone(), Vec::new());
        if let Some(file) = files.iter().find(|file| file.name == name) {
            arguments.test_threads = file.at_once.or(arguments.test_threads);
            trials = (file.found)();
        }
        trials.extend(registered.remove(name).unwrap_or_default());
        is_good &= !libtest_mimic::run(&arguments, trials).has_failed();
        places().clear();
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The tests that registered themselves, by the file or folder that they lie in.
fn registered() -> BTreeMap<&'static str, Vec<Trial>> {
    let mut all: Vec<&Registered> = inventory::iter::<Registered>().collect();
    all.sort_by_key(|test| (test.module, test.name));
    let mut files: BTreeMap<&str, Vec<Trial>> = BTreeMap::new();
    for test in all {
        let (_, module) = test.module.split_once("::").expect("tests stand in files beside main.rs");
        let file = module.split("::").next().unwrap_or(module);
        files.entry(file).or_default().push(trial(format!("{module}::{}", test.name), test.run));
    }
    files
}

fn trial(name: String, run: fn()) -> Trial {
    Trial::test(name, move || -> Result<(), Failed> {
        run();
        Ok(())
    })
}
