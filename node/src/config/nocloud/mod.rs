//! cloud-init's NoCloud data source, as far as a node has a use for it: the host name, the first user with keys and the hash
//! of a password, and the node's address in the cluster's subnet become a `node.toml`. All else is named, so that nobody
//! waits for it.
//!
//! Sources: cloud-init's documentation, "NoCloud", "Module reference" (`users`, `ssh_authorized_keys`, `hostname`) and
//! "Networking config version 2".

use std::fmt::Write;

use ipnet::Ipv4Net;

use crate::fault::{Fault, Result};

use super::access::{PasswordHash, SshKey};
use super::role::RoleConfig;
use super::values::DnsLabel;

mod yaml;

use yaml::Yaml;

/// Files of the data source, by their names.
pub const META_DATA: &str = "meta-data";
/// What the user says.
pub const USER_DATA: &str = "user-data";
/// The network, version 2.
pub const NETWORK_CONFIG: &str = "network-config";

/// Name of the operator, where only keys are given.
const SOMEBODY: &str = "hale";

/// Texts of the data source; a file that is missing is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCloud<'a> {
    /// Text of `meta-data`.
    pub meta_data: &'a str,
    /// Text of `user-data`.
    pub user_data: &'a str,
    /// Text of `network-config`.
    pub network_config: &'a str,
}

/// What became of a data source.
#[derive(Debug, PartialEq, Eq)]
pub struct Translation {
    /// Text of a `node.toml`.
    pub node_toml: String,
    /// What was not read, as `file:line: what`.
    pub unread: Vec<String>,
}

/// What is found, file by file.
#[derive(Default)]
struct Found {
    name: Option<DnsLabel>,
    operator: Option<String>,
    keys: Vec<SshKey>,
    hash: Option<PasswordHash>,
    /// Interface and address.
    network: Option<(String, std::net::Ipv4Addr)>,
    unread: Vec<String>,
}

impl NoCloud<'_> {
    /// Translates the data source for a node of this role; refuses a key, a hash or a name that is none.
    pub fn translate(&self, role: &RoleConfig) -> Result<Translation> {
        let mut found = Found::default();
        found.read_meta_data(&Yaml::parse(META_DATA, self.meta_data)?)?;
        match self.user_data.lines().next().map(str::trim_end) {
            None => {}
            Some("#cloud-config") => found.read_user_data(&Yaml::parse(USER_DATA, self.user_data)?)?,
            Some(_) => found.skip(USER_DATA, 1, "no #cloud-config"),
        }
        found.read_network(&Yaml::parse(NETWORK_CONFIG, self.network_config)?, role);
        let node_toml = found.node_toml();
        Ok(Translation { node_toml, unread: found.unread })
    }
}

impl Found {
    fn skip(&mut self, file: &str, line: usize, what: &str) {
        self.unread.push(format!("{file}:{line}: {what}"));
    }

    fn read_meta_data(&mut self, data: &Yaml) -> Result<()> {
        for (key, value) in data.entries() {
            match key {
                // Which instance it is matters to those who configure again when it changes.
                "instance-id" => {}
                "local-hostname" | "hostname" => self.name = host_name(META_DATA, value)?,
                "public-keys" => self.take_keys(META_DATA, value)?,
                _ => self.skip(META_DATA, value.line, key),
            }
        }
        Ok(())
    }

    fn read_user_data(&mut self, data: &Yaml) -> Result<()> {
        for (key, value) in data.entries() {
            match (key, value.text()) {
                ("hostname", _) => self.name = host_name(USER_DATA, value)?,
                ("fqdn", _) if data.get("hostname").is_none() => self.name = host_name(USER_DATA, value)?,
                ("ssh_authorized_keys", _) => self.take_keys(USER_DATA, value)?,
                ("users", _) => self.read_users(value)?,
                // As it is anyway.
                ("ssh_pwauth", Some("false" | "no"))
                | ("disable_root", Some("true" | "yes"))
                | ("fqdn", _) => {}
                ("password" | "chpasswd", _) => {
                    self.skip(
                        USER_DATA,
                        value.line,
                        "a password in clear text; give `hashed_passwd` of a user",
                    );
                }
                _ => self.skip(USER_DATA, value.line, key),
            }
        }
        Ok(())
    }

    /// The first user with a name is the operator; `default` stands for the distribution's own, which is nobody here.
    fn read_users(&mut self, users: &Yaml) -> Result<()> {
        for user in users.items() {
            let Some(name) = user.get("name").and_then(Yaml::text) else {
                if user.text() != Some("default") {
                    self.skip(USER_DATA, user.line, "a user without a name");
                }
                continue;
            };
            if self.operator.is_some() {
                self.skip(USER_DATA, user.line, &format!("user {name}: a node has one operator"));
                continue;
            }
            self.operator = Some(name.to_owned());
            self.read_operator(user)?;
        }
        Ok(())
    }

    fn read_operator(&mut self, user: &Yaml) -> Result<()> {
        // A password is locked unless it says otherwise.
        let is_open =
            user.get("lock_passwd").and_then(Yaml::text).is_some_and(|text| ["false", "no"].contains(&text));
        for (key, value) in user.entries() {
            match (key, value.text()) {
                // Whoever may log in may become root, with bash and a home of their own.
                ("name" | "gecos" | "groups" | "homedir" | "lock_passwd" | "shell" | "sudo", _) => {}
                ("ssh_authorized_keys", _) => self.take_keys(USER_DATA, value)?,
                ("passwd" | "hashed_passwd", Some(hash)) if is_open => {
                    let hash = PasswordHash::try_from(hash.to_owned());
                    self.hash =
                        Some(hash.map_err(|fault| fault.context(format!("{USER_DATA}:{}", value.line)))?);
                }
                ("passwd" | "hashed_passwd", _) => {
                    self.skip(USER_DATA, value.line, "a password that `lock_passwd: false` does not open");
                }
                _ => self.skip(USER_DATA, value.line, &format!("users: {key}")),
            }
        }
        Ok(())
    }

    fn take_keys(&mut self, file: &str, keys: &Yaml) -> Result<()> {
        for item in keys.items() {
            let Some(text) = item.text() else {
                self.skip(file, item.line, "keys in another form than a list of lines");
                continue;
            };
            // As YAML has nothing: a key without a value.
            if ["", "~", "null"].contains(&text) {
                continue;
            }
            let key =
                text.parse::<SshKey>().map_err(|fault| fault.context(format!("{file}:{}", item.line)))?;
            if !self.keys.contains(&key) {
                self.keys.push(key);
            }
        }
        Ok(())
    }

    /// Takes the node's address in the cluster's subnet, and the interface that has it.
    fn read_network(&mut self, data: &Yaml, role: &RoleConfig) {
        // Version 1, and version 2 as netplan wraps it.
        let data = data.get("network").unwrap_or(data);
        for (key, value) in data.entries() {
            match (key, value.text()) {
                ("version", Some("2")) => {}
                ("ethernets", None) => {
                    value.entries().for_each(|(name, card)| self.read_card(name, card, role))
                }
                _ => self.skip(NETWORK_CONFIG, value.line, key),
            }
        }
    }

    fn read_card(&mut self, name: &str, card: &Yaml, role: &RoleConfig) {
        let is_own = |address: &std::net::Ipv4Addr| {
            let cluster = &role.cluster;
            cluster.subnet.contains(address) && role.is_master() == (*address == cluster.advertise_address)
        };
        for (key, value) in card.entries() {
            let text = value.items().iter().find_map(|item| item.text()?.parse::<Ipv4Net>().ok());
            let address = text.map(|net| net.addr()).filter(is_own);
            match (key, address) {
                // A card that is told by its hardware's address has a name of its own.
                ("addresses", Some(address)) if self.network.is_none() && card.get("match").is_none() => {
                    self.network = Some((name.to_owned(), address));
                }
                _ => self.skip(NETWORK_CONFIG, value.line, &format!("{name}: {key}")),
            }
        }
    }

    fn node_toml(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let mut text = String::from("# Translated from a cidata disk (NoCloud).\n");
        if let Some(name) = &self.name {
            let _ = writeln!(text, "name = {}", quoted(name.as_str()));
        }
        if let Some((interface, address)) = &self.network {
            let interface = quoted(interface);
            let _ = write!(
                text,
                "\n[network]\nbridge = \"make\"\ninterface = {interface}\naddress = \"{address}\"\n"
            );
        }
        // A user with neither has no way in, and nobody is to be made for nothing.
        if self.keys.is_empty() && self.hash.is_none() {
            return text;
        }
        let keys: Vec<String> = self.keys.iter().map(|key| quoted(&key.to_string())).collect();
        let operator = quoted(self.operator.as_deref().unwrap_or(SOMEBODY));
        let _ = write!(text, "\n[access]\noperator = {operator}\nssh-keys = [{}]\n", keys.join(", "));
        if let Some(hash) = &self.hash {
            let _ = writeln!(text, "password-hash = {}", quoted(hash.expose()));
        }
        text
    }
}

/// Reads a host name: the first label of a longer one.
fn host_name(file: &str, value: &Yaml) -> Result<Option<DnsLabel>> {
    let text = value.text().unwrap_or_default();
    let label = text.split('.').next().unwrap_or_default();
    let name = label.parse().map_err(|fault: Fault| fault.context(format!("{file}:{}", value.line)))?;
    Ok(Some(name))
}

#[cfg(test)]
mod tests;
