//! What is judged of a container, from CRI-O's own copy of its configuration (OCI runtime specification, config.md). Only what
//! CRI-O and the kubelet alone decide counts: not annotations, over which CRI-O 1.17 lays a sandbox's pod's.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::fault::{Class, Fault, Result};

use super::refusal::refused;
use crate::config::shim::ShimConfig;

/// The kubelet's folder of pods' volumes.
const PODS: &str = "/var/lib/kubelet/pods";
/// CRI-O's folders of containers' bundles.
pub(crate) const BUNDLES: &str = "/run/containers/storage/overlay-containers";

/// What is kept of containers across reboots: CRI-O's other copies of configurations, podman's bundles.
pub(super) const COPIES: &str = "/var/lib/containers/storage/overlay-containers";

/// The program that a bundle belongs to, by its folder, which has the container's id in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BundleOwner {
    /// CRI-O's.
    Crios(String),
    /// podman's.
    Podmans(String),
    /// Anybody's.
    Others,
}

impl BundleOwner {
    /// Finds the owner of a bundle by its path, which is without links.
    pub(super) fn of(path: &Path) -> Self {
        let id = |root: &str| {
            let mut parts = path.strip_prefix(root).ok()?.iter().map(|part| part.to_str());
            match (parts.next()??, parts.next()??, parts.next()) {
                (id, "userdata", None) if is_id(id) => Some(id.to_owned()),
                _ => None,
            }
        };
        let crios = id(BUNDLES).map(Self::Crios);
        crios.or_else(|| id(COPIES).map(Self::Podmans)).unwrap_or(Self::Others)
    }

    /// Returns the folders that are the container's own.
    fn folders(&self) -> Vec<PathBuf> {
        let of = |roots: &[&str], id: &str| roots.iter().filter_map(|root| folder(root, id)).collect();
        match self {
            Self::Crios(id) => of(&[BUNDLES], id),
            Self::Podmans(id) => of(&[BUNDLES, COPIES], id),
            Self::Others => Vec::new(),
        }
    }
}

/// Returns a container's folder below a root, if `id` is an id.
fn folder(root: &str, id: &str) -> Option<PathBuf> {
    is_id(id).then(|| PathBuf::from(format!("{root}/{id}/userdata")))
}

/// A container.
#[derive(Debug)]
pub(super) struct Container {
    /// Mounts of folders and files of the host.
    pub(super) binds: Vec<BindMount>,
    /// The host's folders that are its pod's own.
    pub(super) own: Vec<PathBuf>,
    /// Whether it has the capability to mount and unmount, `CAP_SYS_ADMIN`.
    pub(super) mounts_itself: bool,
    /// Whether its bundle is one of CRI-O's.
    is_crios: bool,
    namespace: Namespace,
    pod: Option<PodUid>,
    component: Option<String>,
}

/// A folder or file of the host's in a container.
#[derive(Debug)]
pub(super) struct BindMount {
    /// Index in the list of mounts.
    pub(super) index: usize,
    pub(super) source: PathBuf,
    pub(super) destination: PathBuf,
    /// Whether what is mounted below is mounted too.
    pub(super) recursive: bool,
}

/// A container's user namespace.
#[derive(Debug, PartialEq, Eq)]
enum Namespace {
    /// Of its own: it is a pod's sandbox.
    Own,
    /// That of a process: its pod's sandbox.
    Of(u32),
    /// The host's.
    None,
}

/// The ids that a container's processes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerIds {
    /// Those of all pods.
    Pods,
    /// Of a static pod: its sandbox's map ends with the host's id in place of the last one of `ids` ids from `first` on.
    Mapped {
        /// Host id of container id 0.
        first: u32,
        /// Number of mapped ids.
        ids: u32,
        /// Host id of the last container id.
        last: u32,
    },
    /// Of a container in such a sandbox: its processes are that last id.
    Last(u32),
}

/// The kubelet's name for a pod. The API server makes it a UUID, whatever was asked for; that of a static pod is an MD5 of its
/// manifest, which the kubelet makes (pkg/kubelet/config/common.go).
#[derive(Debug, PartialEq, Eq)]
struct PodUid(String);

impl PodUid {
    /// By the control group that the kubelet chose: `kubepods-burstable-podUID.slice:crio:ID` with `_` for `-`, or
    /// `/kubepods/burstable/podUID/crio-ID`.
    fn of(cgroups_path: &str) -> Option<Self> {
        let parent = cgroups_path.split(':').next()?;
        let uid = if parent.contains('/') {
            parent
                .split('/')
                .filter(|part| *part != "kubepods")
                .find_map(|part| part.strip_prefix("pod"))?
                .to_owned()
        } else {
            let part = parent.strip_prefix("kubepods-")?.strip_suffix(".slice")?.rsplit('-').next()?;
            part.strip_prefix("pod")?.replace('_', "-")
        };
        let is_uid = !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        is_uid.then_some(Self(uid))
    }

    fn is_static(&self) -> bool {
        self.0.len() == 32 && self.0.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    process: Option<Process>,
    #[serde(default)]
    mounts: Option<Vec<Mount>>,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
    #[serde(default)]
    linux: Option<Linux>,
}

#[derive(Default, Deserialize)]
struct Process {
    #[serde(default)]
    capabilities: Option<Capabilities>,
}

#[derive(Default, Deserialize)]
struct Capabilities {
    #[serde(default)]
    bounding: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Mount {
    destination: PathBuf,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    source: Option<PathBuf>,
    #[serde(default)]
    options: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
struct Linux {
    #[serde(default, rename = "cgroupsPath")]
    cgroups_path: Option<String>,
    #[serde(default)]
    namespaces: Option<Vec<NamespaceText>>,
}

#[derive(Deserialize)]
struct NamespaceText {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: Option<String>,
}

impl Container {
    /// Parses a bundle's configuration.
    pub(super) fn parse(text: &str, bundle: &BundleOwner) -> Result<Self> {
        let wrong = |e: serde_json::Error| Fault::new(Class::Integrity, format!("config.json: {e}"));
        let config: Config = serde_json::from_str(text).map_err(wrong)?;
        let linux = config.linux.unwrap_or_default();
        let annotations = config.annotations.unwrap_or_default();
        let namespace = namespace(linux.namespaces.unwrap_or_default())?;
        let pod = linux.cgroups_path.as_deref().and_then(PodUid::of);
        let capabilities = config.process.unwrap_or_default().capabilities.unwrap_or_default();
        let sandbox = match namespace {
            Namespace::Own => None,
            // Only over a sandbox's annotations are the pod's laid.
            _ => annotations.get("io.kubernetes.cri-o.SandboxID").map(String::as_str),
        };
        let bundles = bundle.folders().into_iter().chain(sandbox.and_then(|id| folder(BUNDLES, id)));
        let volumes = pod.iter().map(|uid| Path::new(PODS).join(&uid.0));
        Ok(Self {
            own: volumes.chain(bundles).collect(),
            binds: config.mounts.unwrap_or_default().into_iter().enumerate().filter_map(bind).collect(),
            mounts_itself: capabilities
                .bounding
                .unwrap_or_default()
                .iter()
                .any(|name| name == "CAP_SYS_ADMIN"),
            component: annotations.get("component").cloned(),
            is_crios: matches!(bundle, BundleOwner::Crios(_)),
            namespace,
            pod,
        })
    }

    /// Returns the ids that its processes are to have.
    pub(super) fn ids(&self, config: &ShimConfig) -> Result<ContainerIds> {
        match self.namespace {
            Namespace::Own if self.pod.as_ref().is_some_and(PodUid::is_static) => {
                let is_etcd = self.component.as_deref() == Some("etcd");
                let last = config.control_plane_id + u32::from(is_etcd);
                Ok(ContainerIds::Mapped { first: config.first_id, ids: config.ids, last })
            }
            Namespace::Of(process) => {
                let path = format!("/proc/{process}/uid_map");
                let map = std::fs::read_to_string(&path).map_err(|e| Fault::io("read", &path, e))?;
                joined(&map, config)
            }
            Namespace::Own => Ok(ContainerIds::Pods),
            Namespace::None if self.is_crios => Err(refused("it has no user namespace")),
            Namespace::None => Ok(ContainerIds::Pods),
        }
    }
}

/// The ids of who joins a namespace with this map (user_namespaces(7)): that of pods, or of the control plane's. Any other is
/// refused, the host's above all.
fn joined(map: &str, config: &ShimConfig) -> Result<ContainerIds> {
    let numbers =
        |line: &str| line.split_whitespace().map(|number| number.parse().ok()).collect::<Option<Vec<u32>>>();
    let found: Option<Vec<Vec<u32>>> = map.lines().map(numbers).collect();
    let (first, ids) = (config.first_id, config.ids);
    let own = |last: u32| vec![vec![0, first, ids - 1], vec![ids - 1, last, 1]];
    match found {
        Some(found) if found == [[0, first, ids]] => Ok(ContainerIds::Pods),
        Some(found) if found == own(config.control_plane_id) || found == own(config.control_plane_id + 1) => {
            Ok(ContainerIds::Last(ids - 1))
        }
        _ => Err(refused(format!("the user namespace that it joins has a map of another kind: {map:?}"))),
    }
}

fn namespace(all: Vec<NamespaceText>) -> Result<Namespace> {
    let mut users = all.into_iter().filter(|namespace| namespace.kind == "user");
    let Some(user) = users.next() else { return Ok(Namespace::None) };
    if users.next().is_some() {
        return Err(refused("config.json has more than one user namespace"));
    }
    match user.path.as_deref().unwrap_or_default() {
        "" => Ok(Namespace::Own),
        path => {
            let process = path.strip_prefix("/proc/").and_then(|rest| rest.strip_suffix("/ns/user"));
            let process = process.and_then(|process| process.parse().ok());
            process
                .map(Namespace::Of)
                .ok_or_else(|| refused(format!("{path:?} is no process's user namespace")))
        }
    }
}

fn bind((index, mount): (usize, Mount)) -> Option<BindMount> {
    let options = mount.options.unwrap_or_default();
    let has = |name: &str| options.iter().any(|option| option == name);
    let is_bind = has("bind")
        || has("rbind")
        || mount.kind.is_none_or(|kind| matches!(kind.as_str(), "" | "bind" | "none"));
    let source = mount.source.filter(|_| is_bind)?;
    Some(BindMount { index, source, destination: mount.destination, recursive: has("rbind") || !has("bind") })
}

/// Returns whether a text is a container's id, as CRI-O makes them.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_pod_is_told_by_the_kubelets_own_name_for_it() {
        let check = |path: &str, expect: Option<(&str, bool)>| {
            let found = PodUid::of(path);
            let found = found.as_ref().map(|uid| (uid.0.as_str(), uid.is_static()));
            assert_eq!(found, expect, "{path}");
        };
        let own = "0123456789abcdef0123456789abcdef";
        let uuid = "01234567-89ab-cdef-0123-456789abcdef";
        let escaped = uuid.replace('-', "_");
        check(&format!("kubepods-burstable-pod{own}.slice:crio:id"), Some((own, true)));
        check(&format!("kubepods-pod{own}.slice:crio:id"), Some((own, true)));
        check(&format!("/kubepods/besteffort/pod{own}/crio-id"), Some((own, true)));
        check(&format!("kubepods-burstable-pod{escaped}.slice:crio:id"), Some((uuid, false)));
        check(&format!("/kubepods/besteffort/pod{uuid}/crio-id"), Some((uuid, false)));
        check(&format!("kubepods-pod{escaped}.slice:crio:pod{own}"), Some((uuid, false)));
        check("machine.slice:libpod:id", None);
        check("kubepods-burstable-pod/../x.slice:crio:id", None);
        check("", None);
    }

    #[test]
    fn annotations_decide_nothing_of_a_sandbox() {
        let text = |annotations: &str, namespaces: &str| {
            format!(
                r#"{{"annotations":{annotations},"linux":{{"cgroupsPath":"kubepods-pod01234567_89ab_cdef_0123_456789abcdef.slice:crio:x","namespaces":{namespaces}}}}}"#
            )
        };
        let forged = r#"{"kubernetes.io/config.source":"file","component":"etcd","io.kubernetes.cri-o.ContainerType":"container",
            "io.kubernetes.cri-o.SandboxID":"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"}"#;
        let config = ShimConfig {
            apparmor_profile: "p".into(),
            first_id: 10_000_000,
            ids: 65_536,
            control_plane_id: 20_000_000,
        };
        let id = "0".repeat(64);
        let sandbox =
            Container::parse(&text(forged, r#"[{"type":"user"}]"#), &BundleOwner::Crios(id.clone())).unwrap();
        assert_eq!(sandbox.ids(&config).unwrap(), ContainerIds::Pods);
        assert!(!sandbox.own.iter().any(|own| own.to_string_lossy().contains("ffff")), "{:?}", sandbox.own);
        for bad in [
            r#"[{"type":"user","path":"/tmp/ns"}]"#,
            r#"[{"type":"user"},{"type":"user","path":"/proc/1/ns/user"}]"#,
        ] {
            assert!(Container::parse(&text("{}", bad), &BundleOwner::Others).is_err(), "{bad}");
        }
        assert!(
            Container::parse("{}", &BundleOwner::Crios(id)).unwrap().ids(&config).is_err(),
            "CRI-O's has a user namespace"
        );
        let check =
            |map: &str, expect: Option<ContainerIds>| assert_eq!(joined(map, &config).ok(), expect, "{map}");
        check("         0   10000000      65536\n", Some(ContainerIds::Pods));
        check("0 10000000 65535\n65535 20000000 1\n", Some(ContainerIds::Last(65_535)));
        check("0 10000000 65535\n65535 20000001 1\n", Some(ContainerIds::Last(65_535)));
        for other in ["0 0 4294967295\n", "0 10000000 65535\n65535 0 1\n", "0 20000000 65536\n", "", "x\n"] {
            check(other, None);
        }
    }
}
