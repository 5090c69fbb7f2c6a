//! The programs that stand in for components, as shell scripts.

/// What kubeadm 1.20.2 wrote: phase, mode, path.
const RECORDED: &str = include_str!("../../../../node/testdata/kubeadm-1.20.2/files.txt");
/// The files that say something, by name.
const FILES: [(&str, &str); 6] = [
    ("config.yaml", include_str!("../../../../node/testdata/kubeadm-1.20.2/config.yaml")),
    ("etcd.yaml", include_str!("../../../../node/testdata/kubeadm-1.20.2/etcd.yaml")),
    ("kube-apiserver.yaml", include_str!("../../../../node/testdata/kubeadm-1.20.2/kube-apiserver.yaml")),
    (
        "kube-controller-manager.yaml",
        include_str!("../../../../node/testdata/kubeadm-1.20.2/kube-controller-manager.yaml"),
    ),
    ("kube-scheduler.yaml", include_str!("../../../../node/testdata/kubeadm-1.20.2/kube-scheduler.yaml")),
    ("kubeadm-flags.env", include_str!("../../../../node/testdata/kubeadm-1.20.2/kubeadm-flags.env")),
];

/// A program's text by its name.
pub(crate) fn text(name: &str) -> String {
    match name {
        "kubeadm" => kubeadm(),
        "kubectl" => KUBECTL.to_owned(),
        // kubeadm asks for it before a join.
        "kubelet" => "#!/bin/sh\necho Kubernetes v1.20.2\n".to_owned(),
        _ => "#!/bin/sh\n# A stand-in that does nothing, and does it well.\n".to_owned(),
    }
}

/// There is no API server.
const KUBECTL: &str = "#!/bin/sh
echo 'The connection to the server 10.0.3.1:6443 was refused - did you specify the right host or port?' >&2
exit 1
";

/// kubeadm 1.20.2 as it was recorded. Certificates are PEM with nothing in it.
const KUBEADM: &str = r#"#!/bin/sh
# Writes what the real kubeadm 1.20.2 was recorded to write.
set -e
content() {
    case "$1" in
@CONTENT@
    *.crt) printf -- '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' ;;
    *.key) printf -- '-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n' ;;
    *.pub) printf -- '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n' ;;
    *.conf) printf 'users: []\ncurrent-context: x\n' ;;
    esac
}
option() {
    wanted=$1
    shift
    while [ $# -gt 1 ]; do
        [ "$1" != "$wanted" ] || echo "$2"
        shift
    done
}
if [ "$1" = version ]; then
    echo v1.20.2
    exit
fi
if [ "$1" = join ]; then
    cat /run/said >&2
    exit 1
fi
if [ "$1 $2" != "init phase" ]; then
    echo "error: no recording of kubeadm $*" >&2
    exit 1
fi
shift 2
config=$(option --config "$@")
certificates=$(sed -n 's/.*"certificatesDir": "\(.*\)".*/\1/p' "$config")
confs=$(option --kubeconfig-dir "$@")
phase=$1
case "$2" in -*) ;; *) phase="$phase $2" ;; esac
recorded() {
    cat <<'RECORDED'
@RECORDED@
RECORDED
}
recorded | while IFS='	' read -r of mode path; do
    [ "$of" = "$phase" ] || continue
    case "$path" in
    /etc/kubernetes/pki/*) path="$certificates/${path#/etc/kubernetes/pki/}" ;;
    *.conf) path="${confs:-/etc/kubernetes}/${path##*/}" ;;
    esac
    case "$path" in
    */)
        [ -d "$path" ] || install -d -m "$mode" "$path"
        continue
        ;;
    *.crt | *.key | *.pub | *.conf) [ ! -e "$path" ] || continue ;;
    esac
    content "${path##*/}" | cat > "$path"
    chmod "$mode" "$path"
done
"#;

fn kubeadm() -> String {
    let content = |(name, text): &(&str, &str)| format!("    {name}) cat <<'END' ;;\n{text}END");
    let contents: Vec<String> = FILES.iter().map(content).collect();
    let rows: Vec<&str> = RECORDED.lines().filter(|line| !line.starts_with('#')).collect();
    KUBEADM.replace("@CONTENT@", &contents.join("\n")).replace("@RECORDED@", &rows.join("\n"))
}

/// systemctl where no systemd runs: links are made by the real one (`systemctl.real`), what is started is
/// noted in `/run/active`.
pub(crate) const SYSTEMCTL: &str = r#"#!/bin/sh
for unit; do :; done
mkdir -p /run/active
case "$*" in
*is-active*) [ -e "/run/active/$unit" ] ;;
"enable --now"*)
    systemctl.real enable "$unit"
    touch "/run/active/$unit"
    ;;
start* | restart* | try-restart*) touch "/run/active/$unit" ;;
stop*) rm -f "/run/active/$unit" ;;
*) exec systemctl.real "$@" ;;
esac
"#;

/// ip(8) of a machine whose bridge has the role's address.
pub(crate) const IP: &str = "#!/bin/sh
echo '3: lxcbr0    inet ADDRESS/24 brd 10.0.3.255 scope global lxcbr0'
";
