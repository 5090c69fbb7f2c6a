//! `cargo xtask key`: the key that signs the repository.

use std::path::{Path, PathBuf};

use builder::base::{Fault, Result};
use builder::formats::openpgp::SigningKey;
use builder::host::signing_key;
use clap::{Args, Subcommand};

use crate::context::Context;
use crate::ui::table;

/// Arguments of `key`.
#[derive(Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    verb: Verb,
    /// Where the key is [default: hale/repository-key.asc in the user's configuration].
    #[arg(long, global = true, value_name = "FILE")]
    key: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a new Ed25519 key; one that is there already stays.
    New {
        /// The name that it carries.
        #[arg(long, default_value = "Hale repository")]
        name: String,
    },
    /// Print its fingerprint and its public half.
    Show,
}

impl Key {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let path = place(self.key, context)?;
        let key = match self.verb {
            Verb::New { name } => signing_key::create(&path, &name)?,
            Verb::Show => signing_key::open(&path)?,
        };
        show(&key, &path, context)
    }
}

/// Returns the key's path. Never in the checkout, from where it could reach a commit, a package or an image.
pub(crate) fn place(given: Option<PathBuf>, context: &Context) -> Result<PathBuf> {
    let path = match given {
        Some(path) => std::path::absolute(&path).map_err(|e| Fault::io("find", &path, e))?,
        None => context.signing_key()?,
    };
    let root = context.root()?;
    let root = root.canonicalize().map_err(|e| Fault::io("find", root, e))?;
    let inside = |path: &Path| path.canonicalize().is_ok_and(|path| path.starts_with(&root));
    if path.ancestors().any(inside) {
        return Err(Fault::user(format!("a signing key has no place in the checkout: {}", path.display()))
            .help("name a file outside of it with --key"));
    }
    Ok(path)
}

fn show(key: &SigningKey, path: &Path, context: &Context) -> Result<()> {
    let public = key.certificate_armor()?;
    if context.json {
        return table::json(&serde_json::json!({
            "fingerprint": key.fingerprint().as_str(), "file": path, "public": public,
        }));
    }
    println!("key          {}", path.display());
    println!("fingerprint  {}\n\n{}", key.fingerprint(), public.trim_end());
    Ok(())
}
