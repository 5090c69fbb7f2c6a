//! What the API server reads and writes beside kubeadm's certificates: how it judges what to write down, the key that
//! secrets are encrypted with, its log.
//!
//! ```text
//! /etc/kubernetes/apiserver/     0755 root:root
//!   audit.json                   0600 the control plane's
//!   encryption.json              0600 the control plane's: a secret, made here, and nowhere else
//! /var/log/kubernetes/           0700 the control plane's
//!   audit.log
//! ```

use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::fault::{Class, Fault, Result};
use crate::host::files;
use crate::kubernetes::context::Node;
use crate::text::base64;

/// Path of the audit policy (`audit.k8s.io/v1`).
pub const AUDIT_POLICY: &str = "/etc/kubernetes/apiserver/audit.json";
/// Path of the encryption configuration (`apiserver.config.k8s.io/v1`).
pub const ENCRYPTION: &str = "/etc/kubernetes/apiserver/encryption.json";
/// Path of the audit log; the API server itself rotates it.
pub const AUDIT_LOG: &str = "/var/log/kubernetes/audit.log";
/// There once etcd has data: the key that they were written with cannot be made again.
const DATA: &str = "/var/lib/etcd/member";

/// A folder of the host that the API server's static pod mounts at its own path.
pub struct Folder {
    name: &'static str,
    /// Path on the host and in the pod.
    pub path: &'static str,
    writable: bool,
}

/// All such folders.
pub const FOLDERS: [Folder; 2] = [
    Folder { name: "apiserver", path: "/etc/kubernetes/apiserver", writable: false },
    Folder { name: "audit", path: "/var/log/kubernetes", writable: true },
];

impl Folder {
    /// Returns the folder as `HostPathMount` of kubeadm's API.
    pub fn volume(&self) -> Value {
        let Self { name, path, writable } = self;
        json!({"name": name, "hostPath": path, "mountPath": path, "readOnly": !writable, "pathType": "Directory"})
    }
}

/// Who did what when, and never a body: secrets are in bodies. What components say and ask all day long is left out,
/// for it would be all that the log has room for; whatever else changes something, or reads a secret, is in it.
fn audit_policy() -> Value {
    let core = |resources: &[&str]| json!({"group": "", "resources": resources});
    let reads = json!(["get", "list", "watch"]);
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {
                "level": "None",
                "users": ["system:kube-proxy"],
                "verbs": reads,
                "resources": [core(&["endpoints", "nodes", "services"]), {"group": "discovery.k8s.io"}],
            },
            {
                "level": "None",
                "userGroups": ["system:nodes"],
                "verbs": ["get", "update"],
                "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}],
            },
            // Health, and which kinds of objects there are.
            {
                "level": "None",
                "verbs": ["get"],
                "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/healthz*", "/livez*", "/readyz*", "/version"],
            },
            {"level": "Metadata"},
        ],
    })
}

/// Returns whether all files and folders are there.
pub fn is_ready(node: &Node) -> Result<bool> {
    let policy = files::read(node.host, AUDIT_POLICY)? == Some(audit_policy().to_string());
    Ok(policy && has_key(node)? && node.host.path("/var/log/kubernetes").is_dir())
}

fn has_key(node: &Node) -> Result<bool> {
    let text = Zeroizing::new(files::read(node.host, ENCRYPTION)?.unwrap_or_default());
    let Ok(object) = serde_json::from_str::<Value>(&text) else { return Ok(false) };
    Ok(object["kind"] == "EncryptionConfiguration")
}

/// Makes all files and folders that are missing; a key once and for all.
pub fn prepare(node: &Node) -> Result<()> {
    files::write(node.host, AUDIT_POLICY, audit_policy().to_string().as_bytes(), 0o600)?;
    files::make_directory(node.host, &node.host.path("/var/log/kubernetes"), 0o700)?;
    if has_key(node)? {
        return Ok(());
    }
    if node.host.path(DATA).exists() {
        let what =
            format!("{ENCRYPTION} is missing or damaged, and {DATA} has what was written with its key");
        return Err(Fault::new(Class::Integrity, what)
            .help("restore it from a backup, or `hale reset` and begin anew"));
    }
    files::write(node.host, ENCRYPTION, encryption()?.as_bytes(), 0o600)
}

/// Secrets by XSalsa20 and Poly1305 with 32 random bytes; what a cluster wrote before it had a key can be read.
fn encryption() -> Result<Zeroizing<String>> {
    let mut key = Zeroizing::new([0u8; 32]);
    let random = std::fs::File::open("/dev/urandom");
    let filled = random.and_then(|mut file| std::io::Read::read_exact(&mut file, &mut *key));
    filled.map_err(|e| Fault::io("read", "/dev/urandom", e))?;
    let key = Zeroizing::new(base64::encode(key.as_slice()));
    let keys = Zeroizing::new(format!(r#"{{"keys":[{{"name":"first","secret":"{}"}}]}}"#, *key));
    Ok(Zeroizing::new(format!(
        r#"{{"apiVersion":"apiserver.config.k8s.io/v1","kind":"EncryptionConfiguration","resources":[{{"resources":["secrets"],"providers":[{{"secretbox":{}}},{{"identity":{{}}}}]}}]}}"#,
        *keys
    )))
}
