//! Registries, as node.toml names them: where they are, whom to trust, and who asks.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

use crate::config::Secret;
use crate::config::node::NodeConfig;
use crate::config::registries::{RegistryConfig, RegistryHost};
use crate::fault::{Class, Fault, Result};
use crate::host::files;
use crate::host::systemd;
use crate::kubernetes::context::Node;
use crate::text::base64;

/// Mirrors of registries: containers-registries.conf(5), of which CRI-O reads every file in this folder.
pub const MIRRORS: &str = "/etc/containers/registries.conf.d/hale.conf";
/// Folder with one folder a host: containers-certs.d(5).
const CERTIFICATES: &str = "/etc/containers/certs.d";
/// Name of our file in a host's folder.
const CA: &str = "hale.crt";
/// Log-ins, which the kubelet hands to CRI-O with each pull: containers-auth.json(5). No container reaches this folder.
pub const LOGINS: &str = "/var/lib/kubelet/config.json";

/// Returns whether registries are as node.toml says.
pub fn is_done(node: &Node) -> Result<bool> {
    for (path, text) in texts(node)? {
        if files::read(node.host, &path)? != text {
            return Ok(false);
        }
    }
    let logins = logins(node)?;
    Ok(files::read(node.host, LOGINS)?.as_deref() == logins.as_ref().map(Secret::expose))
}

/// Writes what is not as node.toml says; a CRI-O that runs is started anew, since it reads registries once. Its
/// containers go on.
pub fn apply(node: &Node) -> Result<()> {
    let mut changed = false;
    for (path, text) in texts(node)? {
        changed |= files::put(node.host, &path, text.as_deref())?;
    }
    match logins(node)? {
        Some(logins) => drop(files::update(node.host, LOGINS, logins.expose(), files::Access::ROOT_ONLY)?),
        None => files::remove(node.host, LOGINS)?,
    }
    if changed {
        systemd::systemctl(node.host, &["try-restart", "crio.service"])?;
    }
    Ok(())
}

/// Returns our files but the log-ins, and what is to be in each; none for one that is to be absent.
fn texts(node: &Node) -> Result<BTreeMap<String, Option<String>>> {
    let registries = &node.config.registry;
    let mut texts: BTreeMap<_, _> = written(node)?.into_iter().map(|path| (path, None)).collect();
    texts.insert(MIRRORS.to_owned(), mirrors(registries)?);
    for registry in registries {
        let Some(ca) = &registry.ca else { continue };
        for host in registry.hosts() {
            let text = texts.entry(certificate(host)).or_default().get_or_insert_default();
            text.push_str(ca.expose());
        }
    }
    Ok(texts)
}

fn certificate(host: &RegistryHost) -> String {
    format!("{CERTIFICATES}/{host}/{CA}")
}

/// Returns the certificates that an earlier node.toml named.
fn written(node: &Node) -> Result<Vec<String>> {
    let folder = node.host.path(CERTIFICATES);
    let entries = match fs::read_dir(&folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| Fault::io("list", &folder, e))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Fault::io("list", &folder, e))?;
        let own = entry.path().join(CA).exists();
        paths.extend(own.then(|| format!("{CERTIFICATES}/{}/{CA}", entry.file_name().to_string_lossy())));
    }
    Ok(paths)
}

/// `registries.conf`, version 2.
#[derive(Serialize)]
struct Registries<'a> {
    registry: Vec<Registry<'a>>,
}

#[derive(Serialize)]
struct Registry<'a> {
    location: &'a RegistryHost,
    mirror: Vec<Mirror<'a>>,
}

#[derive(Serialize)]
struct Mirror<'a> {
    location: &'a RegistryHost,
}

fn mirrors(registries: &[RegistryConfig]) -> Result<Option<String>> {
    let with_mirrors = registries.iter().filter(|registry| !registry.mirrors.is_empty());
    let registry: Vec<_> = with_mirrors
        .map(|registry| Registry {
            location: &registry.name,
            mirror: registry.mirrors.iter().map(|location| Mirror { location }).collect(),
        })
        .collect();
    if registry.is_empty() {
        return Ok(None);
    }
    let text = toml::to_string(&Registries { registry });
    text.map(Some).map_err(|e| Fault::machine(format!("cannot write {MIRRORS}: {e}")))
}

/// `auth.json`.
#[derive(Default, Serialize, Deserialize)]
struct Logins {
    auths: BTreeMap<String, Login>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Login {
    /// `USER:PASSWORD` in base64.
    auth: String,
}

/// Returns what [`LOGINS`] is to hold; a password that was wiped from node.toml is the one that is there.
fn logins(node: &Node) -> Result<Option<Secret>> {
    let there: Logins = match files::read(node.host, LOGINS)? {
        None => Logins::default(),
        Some(text) => serde_json::from_str(&text).map_err(|e| {
            Fault::new(Class::Integrity, format!("{LOGINS}: {e}")).help(format!("rm {LOGINS}"))
        })?,
    };
    let mut logins = Logins::default();
    for registry in &node.config.registry {
        let Some(login) = &registry.login else { continue };
        let entry = match &login.password {
            Some(password) => {
                Login { auth: base64::encode(format!("{}:{}", login.user, password.expose()).as_bytes()) }
            }
            None => known(&there, registry, &login.user)?,
        };
        logins.auths.extend(registry.hosts().map(|host| (host.to_string(), entry.clone())));
    }
    if logins.auths.is_empty() {
        return Ok(None);
    }
    let text = serde_json::to_string(&logins);
    text.map(|text| Some(text.into())).map_err(|e| Fault::machine(format!("cannot write {LOGINS}: {e}")))
}

/// Finds the log-in of an earlier password.
fn known(there: &Logins, registry: &RegistryConfig, user: &str) -> Result<Login> {
    let is_users = |login: &&Login| {
        let text = base64::decode(&login.auth).unwrap_or_default();
        text.starts_with(format!("{user}:").as_bytes())
    };
    there.auths.get(registry.name.as_str()).filter(is_users).cloned().ok_or_else(|| {
        let what = format!("{} has no registry.login.password for {}", NodeConfig::PATH, registry.name);
        Fault::new(Class::Missing, what).help(format!("put there the password of {user}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::role::RoleConfig;
    use crate::host::Host as _;
    use crate::testing::fake::FakeHost;

    const CONFIG: &str = r#"
[[registry]]
name = "registry.lan:5000"
mirrors = ["10.0.3.9:5000"]
ca = """
-----BEGIN CERTIFICATE-----
MIIB
-----END CERTIFICATE-----
"""

[registry.login]
user = "puller"
password = "open: sesame"

[[registry]]
name = "example.org"
"#;

    fn with<T>(host: &FakeHost, text: &str, act: impl FnOnce(&Node) -> T) -> T {
        let role = RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap();
        let config = NodeConfig::parse("node.toml", text, &role).unwrap();
        act(&Node::new(host, &role, &config).unwrap())
    }

    fn host() -> FakeHost {
        let role = RoleConfig::parse(include_str!("../../examples/role.toml")).unwrap();
        FakeHost::of(&role, "10.0.3.1")
    }

    #[test]
    fn registries_are_written_as_their_readers_want_them() {
        let host = host();
        with(&host, CONFIG, |node| {
            assert!(!is_done(node).unwrap());
            apply(node).unwrap();
            assert!(is_done(node).unwrap());
        });
        let read = |path: &str| files::read(&host, path).unwrap().unwrap();
        let expect = "[[registry]]\nlocation = \"registry.lan:5000\"\n\n[[registry.mirror]]\nlocation = \"10.0.3.9:5000\"\n";
        assert_eq!(read(MIRRORS), expect);
        for name in ["registry.lan:5000", "10.0.3.9:5000"] {
            assert!(read(&format!("/etc/containers/certs.d/{name}/hale.crt")).starts_with("-----BEGIN CERT"));
        }
        let auth = base64::encode(b"puller:open: sesame");
        let expect = format!(
            r#"{{"auths":{{"10.0.3.9:5000":{{"auth":"{auth}"}},"registry.lan:5000":{{"auth":"{auth}"}}}}}}"#
        );
        assert_eq!(read(LOGINS), expect);
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(host.path(LOGINS)).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    /// What an earlier node.toml named goes, and what others put there stays.
    #[test]
    fn what_is_no_longer_named_goes() {
        let host = host();
        with(&host, CONFIG, |node| apply(node).unwrap());
        let others = "/etc/containers/certs.d/registry.lan:5000/own.crt";
        files::write(&host, others, b"theirs", 0o644).unwrap();
        with(&host, "", |node| {
            assert!(!is_done(node).unwrap());
            apply(node).unwrap();
            assert!(is_done(node).unwrap());
        });
        for path in [MIRRORS, LOGINS, "/etc/containers/certs.d/registry.lan:5000/hale.crt"] {
            assert!(!host.path(path).exists(), "{path}");
        }
        assert!(host.path(others).exists());
    }

    #[test]
    fn a_password_outlives_its_wiping_and_nobody_elses_is_taken_for_it() {
        let host = host();
        let wiped = with(&host, CONFIG, |node| {
            apply(node).unwrap();
            node.config.wiped().unwrap()
        });
        assert!(!wiped.contains("sesame"), "{wiped}");
        with(&host, &wiped, |node| assert!(is_done(node).unwrap()));
        let other = wiped.replace("\"puller\"", "\"pul\"");
        let fault = with(&host, &other, |node| is_done(node).unwrap_err());
        assert!(fault.class() == Class::Missing && fault.to_string().contains("password of pul"), "{fault}");
    }
}
