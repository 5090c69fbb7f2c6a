//! What every verb needs to know of its surroundings. The only place that reads the environment.

use std::cell::OnceCell;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use builder::base::{Epoch, Fault, Result};
use builder::build::steps::StepRunner;
use builder::fetch::{Client, FetchLimits};
use builder::host::cargo::Toolchain;
use builder::host::checkout::Project;
use builder::store::Store;

use crate::ui::progress::{Bar, ProgressUnit, Show};

/// The checkout, the store, and how to speak.
pub(crate) struct Context {
    /// The checkout's top folder, where one was named.
    named: Option<PathBuf>,
    /// The checkout, found when it is first asked for.
    project: OnceCell<Project>,
    /// The store's folder; it need not exist yet.
    pub(crate) store: PathBuf,
    /// Results as JSON on standard output.
    pub(crate) json: bool,
}

impl Context {
    /// Takes the checkout and the store that are named, or the store in the user's cache directory.
    pub(crate) fn new(project: Option<PathBuf>, store: Option<PathBuf>, json: bool) -> Result<Self> {
        let named = project.or_else(|| std::env::var_os("HALE_ROOT").map(PathBuf::from));
        let store = match store.or_else(|| std::env::var_os("HALE_STORE").map(PathBuf::from)) {
            Some(store) => store,
            None => cache_directory()?.join("hale"),
        };
        Ok(Self { named, project: OnceCell::new(), store, json })
    }

    /// The checkout that is named, or that the current folder lies in. It is the same value for all of a verb, which so
    /// reads its files once.
    pub(crate) fn project(&self) -> Result<&Project> {
        match self.project.get() {
            Some(project) => Ok(project),
            None => self.find().map(|project| self.project.get_or_init(|| project)),
        }
    }

    fn find(&self) -> Result<Project> {
        let here = || {
            std::env::current_dir().map_err(|e| Fault::machine("the current folder is not there").cause(e))
        };
        match &self.named {
            Some(root) => Ok(Project::at(root)),
            None => Project::above(&here()?),
        }
    }

    /// The checkout's top folder.
    pub(crate) fn root(&self) -> Result<&Path> {
        self.project().map(Project::root)
    }
}

impl Context {
    /// Where unpacked package indices are kept: beside the store.
    pub(crate) fn indices(&self) -> PathBuf {
        let mut name = self.store.clone().into_os_string();
        name.push("-indices");
        PathBuf::from(name)
    }

    /// The apt sources to read: those given, or the user's own before the machine's.
    pub(crate) fn apt_sources(&self, given: Option<PathBuf>) -> Vec<PathBuf> {
        let machine = ["/etc/apt/sources.list", "/etc/apt/sources.list.d"].map(PathBuf::from);
        match given {
            Some(given) => vec![given],
            None => config_directory()
                .map(|dir| dir.join("hale/apt.sources"))
                .into_iter()
                .chain(machine)
                .collect(),
        }
    }

    /// Where the repository's signing key is, unless the user names another place.
    pub(crate) fn signing_key(&self) -> Result<PathBuf> {
        let directory = config_directory();
        directory.map(|directory| directory.join("hale/repository-key.asc")).ok_or_else(|| {
            Fault::machine("no place for the signing key").help("name one with --key, or set HOME")
        })
    }

    /// Archives of old versions, from $HALE_SNAPSHOTS: addresses with spaces between them.
    pub(crate) fn snapshots(&self) -> Vec<String> {
        let text = std::env::var("HALE_SNAPSHOTS").unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// A client for the network that trusts whom this machine trusts: a firm's own authority counts.
    pub(crate) fn client(&self) -> Result<Client> {
        let own = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let debian = Some(PathBuf::from("/etc/ssl/certs/ca-certificates.crt")).filter(|path| path.exists());
        Client::new(FetchLimits::default(), own.or(debian).as_deref())
    }

    /// Runs steps for this checkout, and shows how far it is.
    pub(crate) fn runner<'s>(&self, store: &'s Store) -> Result<StepRunner<'s>> {
        let progress = Box::new(Bar::new(self.show(), ProgressUnit::Steps, 0));
        let checkout = self.root()?.to_owned();
        Ok(StepRunner { store, checkout, toolchain: self.toolchain(), progress })
    }

    /// Where the compiler is.
    pub(crate) fn toolchain(&self) -> Toolchain {
        Toolchain::new(|name| std::env::var_os(name))
    }

    /// Where progress goes: one line on a terminal, a log otherwise.
    pub(crate) fn show(&self) -> Show {
        match std::io::stderr().is_terminal() {
            true => Show::Terminal,
            false => Show::Lines(Box::new(std::io::stderr())),
        }
    }

    /// The time now. Only verbs that ask the outside world look at a clock.
    pub(crate) fn now(&self) -> Result<Epoch> {
        #[expect(clippy::disallowed_methods, reason = "signatures of the outside world expire")]
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Epoch::new(now.map_err(|_| Fault::machine("this machine's clock is before 1970"))?.as_secs())
    }
}

/// Whether errors may carry colour (https://no-color.org).
pub(crate) fn color() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn absolute(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn config_directory() -> Option<PathBuf> {
    absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))
}

fn cache_directory() -> Result<PathBuf> {
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .ok_or_else(|| Fault::machine("no place for the store").help("set HALE_STORE, or HOME"))
}
