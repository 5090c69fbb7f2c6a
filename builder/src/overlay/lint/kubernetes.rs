//! Schemas of Kubernetes 1.17's configuration files, by `apiVersion` and `kind`.
//!
//! Kubelet and kube-proxy drop a field that they do not know with a line in a log, so a misspelt bind
//! address would leave a port open. Fields that came later than 1.17 are unknown here on purpose.

use super::document::YamlNode;
use super::schema::{
    ADDRESS, COUNT, DURATION, ENDPOINT, FieldRule, NETWORK, PATH, PORT, Schema, TEXT, TEXTS, may, must,
};
use crate::base::Result;
use crate::base::text::{SourceText, nearest, one_of};

const BOOL: Schema = Schema::Bool;
const WORDS: Schema = Schema::Map(&TEXT);
const PERCENT: Schema = Schema::Integer(0, 100);
const LIMIT: Schema = Schema::Integer(-1, i64::MAX);
const GATES: Schema = Schema::Map(&Schema::Bool);
const CLOSED: Schema = Schema::Integer(0, 0);
const LOOPBACK: Schema = Schema::Text("127.0.0.1: nothing else asks for it", |text| text == "127.0.0.1");
const LOOPBACK_ENDPOINT: Schema = Schema::Text("127.0.0.1:PORT: nothing else asks for it", |text| {
    text.strip_prefix("127.0.0.1:").is_some_and(|port| port.parse::<u16>().is_ok())
});

const AUTHENTICATION: Schema = Schema::Table(&[
    may("x509", &Schema::Table(&[may("clientCAFile", &PATH)])),
    may("webhook", &Schema::Table(&[may("enabled", &BOOL), may("cacheTTL", &DURATION)])),
    must("anonymous", &Schema::Table(&[must("enabled", &Schema::Bool)])),
]);
const AUTHORIZATION: Schema = Schema::Table(&[
    must("mode", &Schema::Word(&["Webhook"])),
    may(
        "webhook",
        &Schema::Table(&[may("cacheAuthorizedTTL", &DURATION), may("cacheUnauthorizedTTL", &DURATION)]),
    ),
]);

/// `KubeletConfiguration` v1beta1 (kubernetes 1.17, `staging/src/k8s.io/kubelet/config/v1beta1/types.go`).
/// What would open a port or a door must be there, and shut.
const KUBELET: &[FieldRule] = &[
    must("apiVersion", &TEXT),
    must("kind", &TEXT),
    may("staticPodPath", &PATH),
    may("syncFrequency", &DURATION),
    may("fileCheckFrequency", &DURATION),
    may("httpCheckFrequency", &DURATION),
    may("staticPodURL", &TEXT),
    may("staticPodURLHeader", &Schema::Map(&TEXTS)),
    may("address", &ADDRESS),
    may("port", &PORT),
    must("readOnlyPort", &CLOSED),
    may("tlsCertFile", &PATH),
    may("tlsPrivateKeyFile", &PATH),
    may("tlsCipherSuites", &TEXTS),
    may("tlsMinVersion", &Schema::Word(&["VersionTLS12", "VersionTLS13"])),
    may("rotateCertificates", &BOOL),
    may("serverTLSBootstrap", &BOOL),
    must("authentication", &AUTHENTICATION),
    must("authorization", &AUTHORIZATION),
    may("registryPullQPS", &COUNT),
    may("registryBurst", &COUNT),
    may("eventRecordQPS", &COUNT),
    may("eventBurst", &COUNT),
    may("enableDebuggingHandlers", &BOOL),
    may("enableContentionProfiling", &BOOL),
    may("healthzPort", &PORT),
    must("healthzBindAddress", &LOOPBACK),
    may("oomScoreAdj", &Schema::Integer(-1000, 1000)),
    may("clusterDomain", &TEXT),
    may("clusterDNS", &Schema::List(&ADDRESS)),
    may("streamingConnectionIdleTimeout", &DURATION),
    may("nodeStatusUpdateFrequency", &DURATION),
    may("nodeStatusReportFrequency", &DURATION),
    may("nodeLeaseDurationSeconds", &COUNT),
    may("imageMinimumGCAge", &DURATION),
    may("imageGCHighThresholdPercent", &PERCENT),
    may("imageGCLowThresholdPercent", &PERCENT),
    may("volumeStatsAggPeriod", &DURATION),
    may("kubeletCgroups", &TEXT),
    may("systemCgroups", &TEXT),
    may("cgroupRoot", &TEXT),
    may("cgroupsPerQOS", &BOOL),
    must("cgroupDriver", &Schema::Word(&["systemd"])),
    may("cpuManagerPolicy", &Schema::Word(&["none", "static"])),
    may("cpuManagerReconcilePeriod", &DURATION),
    may("topologyManagerPolicy", &Schema::Word(&["none", "best-effort", "restricted", "single-numa-node"])),
    may("qosReserved", &WORDS),
    may("runtimeRequestTimeout", &DURATION),
    may("hairpinMode", &Schema::Word(&["promiscuous-bridge", "hairpin-veth", "none"])),
    may("maxPods", &COUNT),
    may("podCIDR", &NETWORK),
    may("podPidsLimit", &LIMIT),
    may("resolvConf", &PATH),
    may("cpuCFSQuota", &BOOL),
    may("cpuCFSQuotaPeriod", &DURATION),
    may("maxOpenFiles", &COUNT),
    may("contentType", &TEXT),
    may("kubeAPIQPS", &COUNT),
    may("kubeAPIBurst", &COUNT),
    may("serializeImagePulls", &BOOL),
    may("evictionHard", &WORDS),
    may("evictionSoft", &WORDS),
    may("evictionSoftGracePeriod", &WORDS),
    may("evictionPressureTransitionPeriod", &DURATION),
    may("evictionMaxPodGracePeriod", &COUNT),
    may("evictionMinimumReclaim", &WORDS),
    may("podsPerCore", &COUNT),
    may("enableControllerAttachDetach", &BOOL),
    may("protectKernelDefaults", &BOOL),
    may("makeIPTablesUtilChains", &BOOL),
    may("iptablesMasqueradeBit", &Schema::Integer(0, 31)),
    may("iptablesDropBit", &Schema::Integer(0, 31)),
    may("featureGates", &GATES),
    may("failSwapOn", &BOOL),
    may("containerLogMaxSize", &TEXT),
    may("containerLogMaxFiles", &Schema::Integer(2, 1000)),
    may("configMapAndSecretChangeDetectionStrategy", &Schema::Word(&["Get", "Cache", "Watch"])),
    may("systemReserved", &WORDS),
    may("kubeReserved", &WORDS),
    may("systemReservedCgroup", &TEXT),
    may("kubeReservedCgroup", &TEXT),
    may("reservedSystemCPUs", &TEXT),
    may("enforceNodeAllocatable", &TEXTS),
];

/// `KubeProxyConfiguration` v1alpha1 (kubernetes 1.17, `staging/src/k8s.io/kube-proxy/config/v1alpha1/types.go`).
const KUBE_PROXY: &[FieldRule] = &[
    must("apiVersion", &TEXT),
    must("kind", &TEXT),
    may("featureGates", &GATES),
    may("bindAddress", &ADDRESS),
    must("healthzBindAddress", &LOOPBACK_ENDPOINT),
    must("metricsBindAddress", &LOOPBACK_ENDPOINT),
    may("enableProfiling", &BOOL),
    may("clusterCIDR", &NETWORK),
    may("hostnameOverride", &TEXT),
    must(
        "clientConnection",
        &Schema::Table(&[
            must("kubeconfig", &PATH),
            may("acceptContentTypes", &TEXT),
            may("contentType", &TEXT),
            may("qps", &COUNT),
            may("burst", &COUNT),
        ]),
    ),
    may(
        "iptables",
        &Schema::Table(&[
            may("masqueradeBit", &Schema::Integer(0, 31)),
            may("masqueradeAll", &BOOL),
            may("syncPeriod", &DURATION),
            may("minSyncPeriod", &DURATION),
        ]),
    ),
    may(
        "ipvs",
        &Schema::Table(&[
            may("syncPeriod", &DURATION),
            may("minSyncPeriod", &DURATION),
            may("scheduler", &TEXT),
            may("excludeCIDRs", &Schema::List(&NETWORK)),
            may("strictARP", &BOOL),
        ]),
    ),
    may("oomScoreAdj", &Schema::Integer(-1000, 1000)),
    must("mode", &Schema::Word(&["iptables", "ipvs"])),
    may("portRange", &TEXT),
    may("udpIdleTimeout", &DURATION),
    may(
        "conntrack",
        &Schema::Table(&[
            may("maxPerCore", &COUNT),
            may("min", &COUNT),
            may("tcpEstablishedTimeout", &DURATION),
            may("tcpCloseWaitTimeout", &DURATION),
        ]),
    ),
    may("configSyncPeriod", &DURATION),
    may("nodePortAddresses", &Schema::List(&NETWORK)),
];

const TAINTS: Schema = Schema::List(&Schema::Table(&[
    must("key", &TEXT),
    may("value", &TEXT),
    must("effect", &Schema::Word(&["NoSchedule", "PreferNoSchedule", "NoExecute"])),
]));
const REGISTRATION: Schema = Schema::Table(&[
    may("name", &TEXT),
    may("criSocket", &TEXT),
    may("taints", &TAINTS),
    may("kubeletExtraArgs", &WORDS),
    may("ignorePreflightErrors", &TEXTS),
]);
const LOCAL_ENDPOINT: Schema = Schema::Table(&[may("advertiseAddress", &ADDRESS), may("bindPort", &PORT)]);
const VOLUMES: Schema = Schema::List(&Schema::Table(&[
    must("name", &TEXT),
    must("hostPath", &PATH),
    must("mountPath", &PATH),
    may("readOnly", &BOOL),
    may("pathType", &TEXT),
]));
const CONTROL_PLANE_PART: Schema = Schema::Table(&[may("extraArgs", &WORDS), may("extraVolumes", &VOLUMES)]);

/// `InitConfiguration` of kubeadm v1beta2, the newest that 1.17 knows.
const INIT: &[FieldRule] = &[
    must("apiVersion", &TEXT),
    must("kind", &TEXT),
    may(
        "bootstrapTokens",
        &Schema::List(&Schema::Table(&[
            must("token", &TEXT),
            may("description", &TEXT),
            may("ttl", &DURATION),
            may("expires", &TEXT),
            may("usages", &TEXTS),
            may("groups", &TEXTS),
        ])),
    ),
    may("nodeRegistration", &REGISTRATION),
    may("localAPIEndpoint", &LOCAL_ENDPOINT),
    may("certificateKey", &TEXT),
];

/// `ClusterConfiguration` of kubeadm v1beta2.
const CLUSTER: &[FieldRule] = &[
    must("apiVersion", &TEXT),
    must("kind", &TEXT),
    must("kubernetesVersion", &TEXT),
    may("controlPlaneEndpoint", &TEXT),
    may("clusterName", &TEXT),
    may("certificatesDir", &PATH),
    may("imageRepository", &TEXT),
    may("featureGates", &GATES),
    may(
        "networking",
        &Schema::Table(&[
            may("serviceSubnet", &NETWORK),
            may("podSubnet", &NETWORK),
            may("dnsDomain", &TEXT),
        ]),
    ),
    may(
        "etcd",
        &Schema::Table(&[may(
            "local",
            &Schema::Table(&[
                may("imageRepository", &TEXT),
                may("imageTag", &TEXT),
                may("dataDir", &PATH),
                may("extraArgs", &WORDS),
                may("serverCertSANs", &TEXTS),
                may("peerCertSANs", &TEXTS),
            ]),
        )]),
    ),
    may(
        "apiServer",
        &Schema::Table(&[
            may("extraArgs", &WORDS),
            may("extraVolumes", &VOLUMES),
            may("certSANs", &TEXTS),
            may("timeoutForControlPlane", &DURATION),
        ]),
    ),
    may("controllerManager", &CONTROL_PLANE_PART),
    may("scheduler", &CONTROL_PLANE_PART),
    may(
        "dns",
        &Schema::Table(&[
            may("type", &Schema::Word(&["CoreDNS"])),
            may("imageRepository", &TEXT),
            may("imageTag", &TEXT),
        ]),
    ),
];

/// `JoinConfiguration` of kubeadm v1beta2. Skipping the CA's verification is not a field here.
const JOIN: &[FieldRule] = &[
    must("apiVersion", &TEXT),
    must("kind", &TEXT),
    may("nodeRegistration", &REGISTRATION),
    may("caCertPath", &PATH),
    must(
        "discovery",
        &Schema::Table(&[
            may(
                "bootstrapToken",
                &Schema::Table(&[
                    must("token", &TEXT),
                    must("apiServerEndpoint", &ENDPOINT),
                    must("caCertHashes", &TEXTS),
                ]),
            ),
            may("tlsBootstrapToken", &TEXT),
            may("timeout", &DURATION),
        ]),
    ),
];

const KINDS: &[(&str, &str, &Schema)] = &[
    ("KubeletConfiguration", "kubelet.config.k8s.io/v1beta1", &Schema::Table(KUBELET)),
    ("KubeProxyConfiguration", "kubeproxy.config.k8s.io/v1alpha1", &Schema::Table(KUBE_PROXY)),
    ("InitConfiguration", "kubeadm.k8s.io/v1beta2", &Schema::Table(INIT)),
    ("ClusterConfiguration", "kubeadm.k8s.io/v1beta2", &Schema::Table(CLUSTER)),
    ("JoinConfiguration", "kubeadm.k8s.io/v1beta2", &Schema::Table(JOIN)),
];

/// Checks a document by what it says it is.
pub(super) fn check(text: SourceText<'_>, document: &YamlNode) -> Result<()> {
    const HEAD: &[&str] = &["apiVersion", "kind"];
    for key in HEAD {
        if document.get(key).and_then(YamlNode::text).is_none() {
            let near =
                document.keys().into_iter().find(|span| nearest(&text.text[span.clone()], &[key]).is_some());
            return Err(match near {
                Some(span) => text.unknown_key(span.clone(), &text.text[span], HEAD),
                None => text.fault(document.span.clone(), format!("`{key}` is missing")),
            });
        }
    }
    let (Some(kind), Some(version)) = (document.get("kind"), document.get("apiVersion")) else {
        return Ok(());
    };
    let Some((_, right, schema)) = KINDS.iter().find(|(name, ..)| kind.text() == Some(name)) else {
        let known: Vec<_> = KINDS.iter().map(|(name, ..)| *name).collect();
        return Err(text
            .fault(kind.span.clone(), "a kind without a schema")
            .expected_found(one_of(&known), kind.text().unwrap_or("")));
    };
    if version.text() != Some(right) {
        let fault = text.fault(version.span.clone(), "another version than 1.17 has");
        return Err(fault.expected_found(right, version.text().unwrap_or("")));
    }
    schema.check(text, document, "")
}
