//! Differences between kubeadm 1.17 and 1.20, and their clusters.

use crate::config::Minor;

/// What differs between the two minor releases. Everything else is the same for both.
#[derive(Debug)]
pub struct KubeadmDialect {
    /// The command that renews all certificates (`kubeadm certs` left alpha in 1.20).
    pub renew: &'static [&'static str],
    /// Whether `alpha kubeconfig user` takes the configuration file (1.20, kubernetes #94879) or flags; with flags it
    /// looks for the newest release in the internet, and does without after 10 s.
    pub user_takes_config: bool,
    /// Options that make `join` say why it finds no API server that it may trust: 1.17 says that in its log alone, and
    /// ends with a time-out (kubernetes #86936).
    pub join_options: &'static [&'static str],
    /// Whether manifests have a startup probe (1.18 on, when the feature became beta).
    pub startup_probe: bool,
    /// The version of `certificates.k8s.io` (`v1` came with 1.19; `v1beta1` is all that 1.17 has).
    pub requests_api: &'static str,
    /// Whether a certificate signing request names its signer; those of 1.17 do not.
    pub names_signers: bool,
}

/// Returns the dialect of a minor release. A test compares it with `node/testdata/kubeadm-*/commands.txt`.
pub fn dialect(minor: Minor) -> &'static KubeadmDialect {
    match minor {
        Minor::V17 => &KubeadmDialect {
            renew: &["alpha", "certs", "renew", "all"],
            user_takes_config: false,
            join_options: &["--v=1"],
            startup_probe: false,
            requests_api: "v1beta1",
            names_signers: false,
        },
        Minor::V20 => &KubeadmDialect {
            renew: &["certs", "renew", "all"],
            user_takes_config: true,
            join_options: &[],
            startup_probe: true,
            requests_api: "v1",
            names_signers: true,
        },
    }
}
