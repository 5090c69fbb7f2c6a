//! Schemas of what CRI-O 1.17 reads: its own configuration, storage, CNI, image policy, registries, crictl.

use super::document::YamlNode;
use super::schema::{ADDRESS, COUNT, FieldRule, NETWORK, PATH, PORT, Schema, TEXT, TEXTS, may, must};
use crate::base::Result;
use crate::base::text::SourceText;

const MAPPING: Schema = Schema::Text("CONTAINER:HOST:COUNT", |text| {
    let parts: Vec<_> = text.split(':').map(str::parse::<u32>).collect();
    parts.len() == 3 && parts.iter().all(|part| part.is_ok())
});
/// Empty, or ends in `.slice`, or `pod` (cri-o 1.17, `pkg/config/config.go`).
const CGROUP: Schema =
    Schema::Text("`pod` or a name that ends in .slice", |text| text == "pod" || text.ends_with(".slice"));
const NUMBER_TEXT: Schema = Schema::Text("a port as text", |text| text.parse::<u16>().is_ok());
const IMAGE: Schema =
    Schema::Text("REGISTRY/NAME:TAG or @DIGEST", |text| text.contains('/') && text.contains(':'));
/// Empty: what the image itself says (cri-o 1.17, `server/sandbox_run_linux.go`).
const COMMAND: Schema = Schema::Text("a path or nothing", |text| text.is_empty() || text.starts_with('/'));
const PATHS: Schema = Schema::List(&PATH);

const RUNTIME: Schema = Schema::Table(&[
    must("runtime_path", &PATH),
    may("runtime_type", &Schema::Word(&["oci", "vm"])),
    may("runtime_root", &PATH),
    may("privileged_without_host_devices", &Schema::Bool),
]);

const CRIO_RUNTIME: &[FieldRule] = &[
    may("default_ulimits", &TEXTS),
    may("default_runtime", &TEXT),
    may("no_pivot", &Schema::Bool),
    may("decryption_keys_path", &PATH),
    may("conmon", &PATH),
    may("conmon_cgroup", &CGROUP),
    may("conmon_env", &TEXTS),
    may("default_env", &TEXTS),
    may("selinux", &Schema::Bool),
    may("seccomp_profile", &PATH),
    may("apparmor_profile", &TEXT),
    may("cgroup_manager", &Schema::Word(&["systemd", "cgroupfs"])),
    may("default_capabilities", &TEXTS),
    may("default_sysctls", &TEXTS),
    may("additional_devices", &TEXTS),
    may("hooks_dir", &PATHS),
    may("default_mounts_file", &PATH),
    may("pids_limit", &COUNT),
    may("log_size_max", &Schema::Integer(-1, i64::MAX)),
    may("log_to_journald", &Schema::Bool),
    may("container_exits_dir", &PATH),
    may("container_attach_socket_dir", &PATH),
    may("bind_mount_prefix", &PATH),
    may("read_only", &Schema::Bool),
    may("log_level", &Schema::Word(&["trace", "debug", "info", "warn", "error", "fatal", "panic"])),
    may("log_filter", &TEXT),
    may("uid_mappings", &MAPPING),
    may("gid_mappings", &MAPPING),
    may("ctr_stop_timeout", &COUNT),
    // `manage_ns_lifecycle = true` beside mappings is a start-up error before CRI-O 1.20.
    may("manage_ns_lifecycle", &Schema::Bool),
    may("namespaces_dir", &PATH),
    may("pinns_path", &PATH),
    may("runtimes", &Schema::Map(&RUNTIME)),
];

/// `crio.conf` and its drop-ins (cri-o 1.17, `pkg/config`).
pub(super) const CRIO: Schema = Schema::Table(&[must(
    "crio",
    &Schema::Table(&[
        may("root", &PATH),
        may("runroot", &PATH),
        may("storage_driver", &Schema::Word(&["overlay", "vfs"])),
        may("storage_option", &TEXTS),
        may("log_dir", &PATH),
        may("version_file", &PATH),
        may(
            "api",
            &Schema::Table(&[
                may("listen", &PATH),
                may("stream_address", &ADDRESS),
                may("stream_port", &NUMBER_TEXT),
                may("stream_enable_tls", &Schema::Bool),
                may("stream_tls_cert", &PATH),
                may("stream_tls_key", &PATH),
                may("stream_tls_ca", &PATH),
                may("grpc_max_send_msg_size", &COUNT),
                may("grpc_max_recv_msg_size", &COUNT),
            ]),
        ),
        may("runtime", &Schema::Table(CRIO_RUNTIME)),
        may(
            "image",
            &Schema::Table(&[
                may("default_transport", &TEXT),
                may("global_auth_file", &PATH),
                may("pause_image", &IMAGE),
                may("pause_image_auth_file", &PATH),
                may("pause_command", &COMMAND),
                may("signature_policy", &PATH),
                may("registries", &TEXTS),
                may("insecure_registries", &TEXTS),
                may("image_volumes", &Schema::Word(&["mkdir", "bind", "ignore"])),
            ]),
        ),
        may("network", &Schema::Table(&[may("network_dir", &PATH), may("plugin_dirs", &PATHS)])),
        may("metrics", &Schema::Table(&[may("enable_metrics", &Schema::Bool), may("metrics_port", &PORT)])),
    ]),
)]);

/// Checks what a schema cannot say of a CRI-O drop-in: a `runc` entry, both mappings and the same, a known runtime.
pub(super) fn crio_agrees(text: SourceText<'_>, document: &YamlNode) -> Result<()> {
    let Some(runtime) = document.get("crio").and_then(|crio| crio.get("runtime")) else { return Ok(()) };
    let (uid, gid) = (runtime.get("uid_mappings"), runtime.get("gid_mappings"));
    if uid.and_then(YamlNode::text) != gid.and_then(YamlNode::text) {
        let at = uid.or(gid).unwrap_or(runtime).span.clone();
        let fault = text.fault(at, "`uid_mappings` and `gid_mappings` differ, and one alone is ignored");
        return Err(fault.help("give both the same mapping"));
    }
    let default = runtime.get("default_runtime");
    for name in ["runc", default.and_then(YamlNode::text).unwrap_or("runc")] {
        if runtime.get("runtimes").and_then(|runtimes| runtimes.get(name)).is_none() {
            let at = default.unwrap_or(runtime).span.clone();
            let fault = text.fault(at, format!("no [crio.runtime.runtimes.{name}]"));
            return Err(
                fault.help("CRI-O 1.17 checks `runc` and the default runtime; give each a runtime_path")
            );
        }
    }
    Ok(())
}

/// `storage.conf` (containers/storage 1.19, the version in CRI-O 1.17).
pub(super) const STORAGE: Schema = Schema::Table(&[must(
    "storage",
    &Schema::Table(&[
        must("driver", &Schema::Word(&["overlay", "vfs"])),
        may("runroot", &PATH),
        may("graphroot", &PATH),
        may("rootless_storage_path", &PATH),
        may(
            "options",
            &Schema::Table(&[
                may("additionalimagestores", &PATHS),
                may("remap-uids", &MAPPING),
                may("remap-gids", &MAPPING),
                may("remap-user", &TEXT),
                may("remap-group", &TEXT),
                may("size", &TEXT),
                may("mount_program", &PATH),
                may("mountopt", &TEXT),
                may("ignore_chown_errors", &TEXT),
                may(
                    "overlay",
                    &Schema::Table(&[
                        may("mountopt", &TEXT),
                        may("mount_program", &PATH),
                        may("size", &TEXT),
                        may("ignore_chown_errors", &TEXT),
                    ]),
                ),
            ]),
        ),
    ]),
)]);

const ROUTES: Schema = Schema::List(&Schema::Table(&[must("dst", &NETWORK), may("gw", &ADDRESS)]));
const RANGES: Schema = Schema::List(&Schema::List(&Schema::Table(&[
    must("subnet", &NETWORK),
    may("rangeStart", &ADDRESS),
    may("rangeEnd", &ADDRESS),
    may("gateway", &ADDRESS),
])));

/// A CNI network configuration, 0.3.1: the plugins `bridge` with `host-local`, and `loopback` (0.8.7).
pub(super) const CNI: Schema = Schema::Table(&[
    must("cniVersion", &Schema::Word(&["0.3.1"])),
    must("name", &TEXT),
    must("type", &Schema::Word(&["bridge", "loopback"])),
    may("bridge", &Schema::Text("an interface name of 1 to 15 bytes", |text| (1..=15).contains(&text.len()))),
    may("isGateway", &Schema::Bool),
    may("isDefaultGateway", &Schema::Bool),
    may("forceAddress", &Schema::Bool),
    may("ipMasq", &Schema::Bool),
    may("mtu", &Schema::Integer(0, 65_535)),
    may("hairpinMode", &Schema::Bool),
    may("promiscMode", &Schema::Bool),
    may("vlan", &Schema::Integer(0, 4094)),
    may(
        "ipam",
        &Schema::Table(&[
            must("type", &Schema::Word(&["host-local"])),
            may("routes", &ROUTES),
            must("ranges", &RANGES),
            may("resolvConf", &PATH),
            may("dataDir", &PATH),
        ]),
    ),
]);

const REQUIREMENT: Schema = Schema::Table(&[
    must("type", &Schema::Word(&["insecureAcceptAnything", "reject", "signedBy"])),
    may("keyType", &Schema::Word(&["GPGKeys"])),
    may("keyPath", &PATH),
]);
const SCOPES: Schema = Schema::Map(&Schema::List(&REQUIREMENT));

/// `policy.json` (containers-policy.json(5)).
pub(super) const POLICY: Schema = Schema::Table(&[
    must("default", &Schema::List(&REQUIREMENT)),
    may(
        "transports",
        &Schema::Table(&[
            may("atomic", &SCOPES),
            may("containers-storage", &SCOPES),
            may("dir", &SCOPES),
            may("docker", &SCOPES),
            may("docker-archive", &SCOPES),
            may("docker-daemon", &SCOPES),
            may("oci", &SCOPES),
            may("oci-archive", &SCOPES),
        ]),
    ),
]);

/// `registries.conf`, version 2 (containers-registries.conf(5)).
pub(super) const REGISTRIES: Schema = Schema::Table(&[
    may("unqualified-search-registries", &TEXTS),
    may(
        "registry",
        &Schema::List(&Schema::Table(&[
            may("prefix", &TEXT),
            must("location", &TEXT),
            may("insecure", &Schema::Bool),
            may("blocked", &Schema::Bool),
            may("mirror-by-digest-only", &Schema::Bool),
            may(
                "mirror",
                &Schema::List(&Schema::Table(&[must("location", &TEXT), may("insecure", &Schema::Bool)])),
            ),
        ])),
    ),
]);

const SOCKET: Schema =
    Schema::Text("unix:// and an absolute path", |text| text.starts_with("unix:///") && !text.contains(' '));

/// `crictl.yaml` (cri-tools 1.17).
pub(super) const CRICTL: Schema = Schema::Table(&[
    must("runtime-endpoint", &SOCKET),
    must("image-endpoint", &SOCKET),
    must("timeout", &Schema::Integer(1, 600)),
    may("debug", &Schema::Bool),
]);
