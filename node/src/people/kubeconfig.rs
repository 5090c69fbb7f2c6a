//! A person's kubeconfig: a client certificate of the cluster's CA, made on the master.

use zeroize::Zeroizing;

use crate::config::Secret;
use crate::config::role::RoleConfig;
use crate::fault::{Class, Fault, Result};
use crate::host::virtio_port::VirtioPort;
use crate::host::{Host, files, openssl, run_dir};
use crate::kubernetes::context::Node;
use crate::kubernetes::{api, paths};
use crate::text::base64;

use super::name::{Group, PersonName};

/// Maximum lifetime of a person's certificate, in days: as long as those of the cluster's own users.
pub const LONGEST: u16 = 365;
/// Default lifetime, in days.
pub const DAYS: u16 = 365;

/// Private key of the cluster's CA.
const CA_KEY: &str = "/etc/kubernetes/pki/ca.key";
/// What the certificate is for (x509v3_config(5)).
const EXTENSIONS: &str =
    "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n";
/// The name of cluster and context.
const CLUSTER: &str = "hale";

/// Signs a certificate for a person and returns the kubeconfig; refuses the names of the cluster's nodes.
pub fn for_person(node: &Node, name: &PersonName, groups: &[Group], days: u16) -> Result<Secret> {
    if !node.role.is_master() {
        return Err(Fault::input("this is no master").help("run `hale kubeconfig` on the master"));
    }
    if days == 0 || days > LONGEST {
        let what = format!("a certificate is good for 1 to {LONGEST} days, not {days}");
        return Err(Fault::input(what).help("make another one when it ends"));
    }
    let members = api::members(node)?;
    if members.iter().any(|member| member.name == name.as_str()) {
        return Err(Fault::input(format!("{name} is a node of the cluster")).help("choose another name"));
    }
    make(node.host, node.role, name, groups, days)
}

/// Signs a certificate and returns the kubeconfig.
pub fn make(
    host: &dyn Host,
    role: &RoleConfig,
    name: &PersonName,
    groups: &[Group],
    days: u16,
) -> Result<Secret> {
    let ca = files::read(host, paths::CA)?.filter(|_| host.path(CA_KEY).exists()).ok_or_else(|| {
        Fault::new(Class::Missing, "this machine has no cluster CA")
            .help("wait for the bootstrap: `hale status`")
    })?;
    let made = ["key", "csr", "crt"].map(|kind| format!("{}/{}", run_dir::PATH, scratch(kind)));
    run_dir::make(host)?;
    let signed = sign(host, &made, name, groups, days);
    let read = signed.and_then(|()| {
        let [key, _, certificate] = &made;
        Ok(text(role, name, &ca, &files::need(host, certificate)?, &Zeroizing::new(files::need(host, key)?)))
    });
    let removed = made.iter().try_for_each(|path| files::remove(host, path));
    let read = read?;
    removed?;
    Ok(read)
}

/// Name of a file of this process's own: two at once must not share a key.
fn scratch(kind: &str) -> String {
    format!("person-{}.{kind}", std::process::id())
}

fn sign(
    host: &dyn Host,
    [key, request, certificate]: &[String; 3],
    name: &PersonName,
    groups: &[Group],
    days: u16,
) -> Result<()> {
    let subject: String = groups.iter().map(|group| format!("/O={group}")).collect();
    let (subject, days) = (format!("{subject}/CN={name}"), days.to_string());
    let [key, request, certificate, ca, ca_key] =
        [key, request, certificate, paths::CA, CA_KEY].map(|path| host.argument(path));
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let asked = ["req", "-new", "-subj", &subject, "-keyout", &key, "-out", &request, "-config", "/dev/null"];
    host.run_checked(&openssl::command(&[asked.as_slice(), &curve].concat()))?;
    run_dir::with_file(host, &scratch("ext"), EXTENSIONS.as_bytes(), |extensions| {
        let extensions = host.argument(extensions);
        let by = ["-CA", &ca, "-CAkey", &ca_key, "-days", &days, "-sha256", "-extfile", &extensions];
        let what = ["x509", "-req", "-in", &request, "-out", &certificate];
        host.run_checked(&openssl::command(&[what.as_slice(), &by].concat())).map(drop)
    })
}

/// A kubeconfig that works wherever the API server is reached.
fn text(role: &RoleConfig, name: &PersonName, ca: &str, certificate: &str, key: &str) -> Secret {
    let [ca, certificate] = [ca, certificate].map(|pem| base64::encode(pem.as_bytes()));
    let key = Zeroizing::new(base64::encode(key.as_bytes()));
    let server = role.cluster.advertise_address;
    Secret::from(format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: {CLUSTER}\n  cluster:\n    \
         certificate-authority-data: {ca}\n    server: https://{server}:6443\nusers:\n- name: \"{name}\"\n  user:\n    \
         client-certificate-data: {certificate}\n    client-key-data: {}\ncontexts:\n- name: \"{name}@{CLUSTER}\"\n  \
         context:\n    cluster: {CLUSTER}\n    user: \"{name}\"\ncurrent-context: \"{name}@{CLUSTER}\"\n",
        *key
    ))
}

/// Returns whether a kubeconfig is this person's, of this cluster, and good for more than `days`.
pub fn is_current(host: &dyn Host, text: &str, name: &PersonName, days: u64) -> Result<bool> {
    let value = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key)).map(str::trim);
    let ca = files::read(host, paths::CA)?.map(|pem| base64::encode(pem.as_bytes()));
    let own = value("current-context: ") == Some(&format!("\"{name}@{CLUSTER}\""));
    let certificate = value("client-certificate-data: ").and_then(base64::decode);
    match certificate {
        Some(pem) if own && ca.as_deref() == value("certificate-authority-data: ") => {
            run_dir::with_file(host, &scratch("old"), &pem, |path| {
                Ok(!openssl::ends_within(host, path, days)?)
            })
        }
        _ => Ok(false),
    }
}

/// Virtio-serial port by which the host of a virtual machine gets a kubeconfig.
const PORT: &str = "/dev/virtio-ports/org.hale.kubeconfig";
/// For whom that is where node.toml names no operator.
const SOMEBODY: &str = "operator";

/// Sends an operator's kubeconfig to the port, on a master that has one; returns whether it did.
pub fn hand_out(node: &Node) -> Result<bool> {
    let port = VirtioPort::open(node.host, PORT).filter(|_| node.role.is_master());
    let Some(mut port) = port else { return Ok(false) };
    let name = node.config.access.as_ref().map_or(SOMEBODY, |access| access.operator.get_ref().as_str());
    let text = make(node.host, node.role, &name.parse()?, &[Group::operators()], DAYS)?;
    port.put(node.host, text.expose());
    Ok(true)
}
