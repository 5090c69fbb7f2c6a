//! What the real kubeadm was recorded to write, and to print.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::doctor::certificates::ending as certificate;
use crate::fault::Result;
use crate::host::Host;

use super::machine::{FakeHost, NOW};

/// What the real kubeadm 1.20.2 was recorded to write: phase, mode, path.
const RECORDED: &str = include_str!("../../../testdata/kubeadm-1.20.2/files.txt");
/// Files that it wrote, by name.
const FILES: [(&str, &str); 6] = [
    ("config.yaml", include_str!("../../../testdata/kubeadm-1.20.2/config.yaml")),
    ("etcd.yaml", include_str!("../../../testdata/kubeadm-1.20.2/etcd.yaml")),
    ("kube-apiserver.yaml", include_str!("../../../testdata/kubeadm-1.20.2/kube-apiserver.yaml")),
    (
        "kube-controller-manager.yaml",
        include_str!("../../../testdata/kubeadm-1.20.2/kube-controller-manager.yaml"),
    ),
    ("kube-scheduler.yaml", include_str!("../../../testdata/kubeadm-1.20.2/kube-scheduler.yaml")),
    ("kubeadm-flags.env", include_str!("../../../testdata/kubeadm-1.20.2/kubeadm-flags.env")),
];
/// A kubeconfig that it printed, its credentials cut.
pub(crate) const USER: &str = include_str!("../../../testdata/kubeadm-1.20.2/user.conf");

/// What stands for a certificate that ends soon.
pub(crate) const ENDS_SOON: &str = "ends soon";

/// Writes what a phase was recorded to write; when the power is cut, half of it and one empty file.
pub(crate) fn write(fake: &FakeHost, phase: &str, place: &dyn Fn(&str) -> String) -> Result<()> {
    let is_old = fake.version.borrow().starts_with("v1.17.");
    let rows: Vec<(u32, String)> = recorded(phase).map(|(mode, path)| (mode, place(path))).collect();
    for (index, (mode, path)) in rows.iter().enumerate() {
        let full = fake.path(path);
        if path.ends_with('/') {
            if !full.is_dir() {
                fs::create_dir_all(&full).unwrap();
                fs::set_permissions(&full, fs::Permissions::from_mode(*mode)).unwrap();
            }
            continue;
        }
        let cut = index == rows.len() / 2 && fake.spend().is_err();
        let version = fake.version.borrow();
        let text = if is_old { without_startup(&content(path)) } else { content(path) };
        let text = text.replace("v1.20.2", &version);
        let keep =
            full.is_file() && (path.ends_with(".crt") || path.ends_with(".key") || path.ends_with(".conf"));
        if keep && fs::read(&full).unwrap().is_empty() {
            return Err(crate::fault::Fault::machine(format!("kubeadm: {path} is empty")));
        }
        if !keep {
            fs::create_dir_all(full.parent().unwrap()).unwrap();
            fs::write(&full, if cut { "" } else { &text }).unwrap();
            fs::set_permissions(&full, fs::Permissions::from_mode(*mode)).unwrap();
        }
        if cut {
            return Err(crate::fault::Fault::machine("the power is cut"));
        }
    }
    Ok(())
}

/// Returns modes and paths of what a phase was recorded to write.
pub(crate) fn recorded(phase: &str) -> impl Iterator<Item = (u32, &'static str)> {
    let rows = RECORDED.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut parts = line.split('\t');
        Some((parts.next()?, parts.next()?, parts.next()?))
    });
    rows.filter(move |(of, ..)| *of == phase)
        .map(|(_, mode, path)| (u32::from_str_radix(mode, 8).unwrap(), path))
}

/// Lifetime of what kubeadm signs, in seconds.
pub(crate) const YEAR: i64 = 365 * 86_400;

pub(crate) fn content(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap();
    if let Some((_, text)) = FILES.iter().find(|(known, _)| *known == name) {
        return (*text).into();
    }
    let label = if path.ends_with(".key") { "RSA PRIVATE KEY" } else { "CERTIFICATE" };
    match path.rsplit('.').next().unwrap() {
        "conf" => {
            let data = crate::text::base64::encode(certificate(NOW + YEAR).as_bytes());
            format!("users:\n    client-certificate-data: {data}\ncurrent-context: x\n")
        }
        "crt" => certificate(NOW + YEAR),
        _ => format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n"),
    }
}

/// A manifest as 1.17 writes it: the startup probe came with 1.18.
fn without_startup(text: &str) -> String {
    let mut inside = None;
    let is_kept = |line: &&str| {
        let indent = line.len() - line.trim_start().len();
        inside = inside
            .filter(|begin| indent > *begin)
            .or_else(|| (line.trim() == "startupProbe:").then_some(indent));
        inside.is_none()
    };
    text.split_inclusive('\n').filter(is_kept).collect()
}
