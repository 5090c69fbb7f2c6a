use std::ops::Range;

use super::*;
use crate::recipe::shipped;

/// The shipped files and their recipe.
fn shipped() -> (Files, Recipe) {
    (shipped::files(), shipped::recipe())
}

/// Every rendered file of every role: path on the node, path in the checkout, text.
fn rendered() -> Vec<(String, String, String)> {
    let (files, recipe) = shipped();
    let mut all = Vec::new();
    for role in recipe.roles.values() {
        let mut packages =
            crate::overlay::role_package::role_packages(&files, &recipe, role, None, &BTreeMap::new())
                .unwrap();
        packages.push(crate::overlay::role_package::machine(&files, &recipe, role, None).unwrap());
        let images = Overlay::parse(&files, &OverlayName::new(IMAGES).unwrap()).unwrap();
        let values = Values::new(&recipe, &RoleVersions::new(&recipe, role, None).unwrap(), None).unwrap();
        let images = render(&images, &values, &mut BTreeSet::new()).unwrap();
        for rendered in packages.into_iter().map(|package| package.rendered).chain([images]) {
            let texts = rendered.texts.into_iter();
            all.extend(texts.map(|(path, file, text)| (path.to_string(), file, text)));
        }
    }
    all
}

fn keys(path: &str, text: SourceText<'_>) -> Vec<Range<usize>> {
    match Format::of(path).unwrap() {
        Format::Crio | Format::Registries | Format::Role | Format::Shim | Format::Storage => {
            document::toml(text).unwrap().keys()
        }
        Format::Cni | Format::Policy => document::json(text).unwrap().keys(),
        Format::Crictl | Format::Kubernetes => document::yaml(text).unwrap().keys(),
        Format::Unit => unit::keys(text),
        Format::AptConf
        | Format::AptPreferences
        | Format::Environment
        | Format::Fstab
        | Format::Modprobe
        | Format::ModulesLoad
        | Format::Journald
        | Format::Repart
        | Format::Sysctl
        | Format::Sysusers
        | Format::Tmpfiles => lines::keys(text),
    }
}

#[test]
fn the_shipped_overlays_pass() {
    let (files, recipe) = shipped();
    let report = lint(&files, &recipe).unwrap_or_else(|e| panic!("{e}"));
    let overlays = files.keys().filter(|file| file.matches('/').count() > 1 && file.starts_with("overlays/"));
    assert_eq!(report.files.keys().collect::<Vec<_>>(), overlays.collect::<Vec<_>>());
}

/// A key whose name the user chose: what is under it is free.
fn is_free(path: &str, text: &str, key: &Range<usize>) -> bool {
    match path {
        "etc/containers/policy.json" => text[key.clone()].starts_with("\"\""),
        "etc/crio/crio.conf.d/10-hale.conf" => ["crun", "runc"].contains(&&text[key.clone()]),
        _ => false,
    }
}

/// Every key of every shipped file, misspelt one at a time, is refused by name at its line.
#[test]
fn every_misspelt_key_is_refused_by_name() {
    let mut tried = 0;
    for (path, file, text) in rendered() {
        let keys = keys(&path, SourceText::new(&file, &text));
        assert!(!keys.is_empty(), "{file} has no key");
        for key in keys.into_iter().filter(|key| !is_free(&path, &text, key)) {
            let quote = usize::from(text[key.clone()].starts_with('"'));
            let name = &text[key.start + quote..key.end - quote];
            let wrong = format!("{name}x");
            let mut broken = text.clone();
            broken.replace_range(key.start + quote..key.end - quote, &wrong);
            let broken = SourceText::new(&file, &broken);
            let line = broken.place(key.clone()).line();
            let Err(fault) = check_file(&path, broken) else { panic!("{file}:{line}: `{wrong}` passes") };
            let place = fault.place().unwrap();
            assert_eq!((place.file.as_str(), place.line()), (file.as_str(), line), "{fault}");
            assert_eq!(fault.what(), format!("unknown key `{wrong}`"), "{file}:{line}");
            let hint = fault.help_text().or(fault.mismatch().map(|(expected, _)| expected));
            assert!(hint.is_some_and(|hint| hint.contains(name)), "{file}:{line}: {fault}");
            tried += 1;
        }
    }
    assert!(tried > 350, "only {tried} keys");
}

#[test]
fn wrong_values_are_refused() {
    let check = |path: &str, from: &str, to: &str, what: &str| {
        let all = rendered();
        let (_, file, text) = all.iter().find(|(at, ..)| at == path).unwrap_or_else(|| panic!("no {path}"));
        assert!(text.contains(from), "{path}: no {from:?}");
        let broken = text.replacen(from, to, 1);
        let fault = check_file(path, SourceText::new(file, &broken)).expect_err(to);
        assert!(fault.to_string().contains(what), "{fault}");
    };
    let crio = "etc/crio/crio.conf.d/10-hale.conf";
    check(crio, "pids_limit = 128", "pids_limit = \"128\"", "`pids_limit` has a value");
    check(crio, "gid_mappings = \"0:", "gid_mappings = \"1:", "differ");
    check(crio, "\"systemd\"", "\"Systemd\"", "`systemd` or `cgroupfs`");
    check(crio, "[crio.runtime.runtimes.runc]", "[crio.runtime.runtimes.other]", "runtimes.runc");
    check(crio, "conmon_cgroup = \"system.slice\"", "conmon_cgroup = \"system\"", ".slice");
    let kubelet = "usr/lib/hale/kubelet.yaml";
    check(kubelet, "readOnlyPort: 0", "readOnlyPort: 10255", "from 0 to 0");
    check(kubelet, "healthzBindAddress: 127.0.0.1", "healthzBindAddress: 0.0.0.0", "127.0.0.1");
    check(kubelet, "readOnlyPort: 0\n", "", "`readOnlyPort` is missing");
    check(kubelet, "v1beta1", "v1", "another version");
    check(kubelet, "failSwapOn: false", "failSwapOn: no", "two YAMLs");
    check(kubelet, "failSwapOn: false", "failSwapOn: false\nfailSwapOn: true", "twice");
    check(kubelet, "4h0m0s", "4 hours", "duration");
    let proxy = "usr/lib/hale/kube-proxy.yaml";
    check(proxy, "127.0.0.1:10256", "0.0.0.0:10256", "127.0.0.1:PORT");
    check(proxy, "mode: iptables", "mode: iptables\ndetectLocalMode: x", "unknown key `detectLocalMode`");
    let cni = "etc/cni/net.d/100-crio-bridge.conf";
    check(cni, "\"0.3.1\"", "\"1.0.0\"", "0.3.1");
    check(cni, "\"ipMasq\": false", "\"ipMasq\": \"false\"", "true or false");
    check(cni, "\"ipMasq\": false,", "\"ipMasq\": false", "not JSON");
    check("usr/lib/systemd/system/crio.service", "Type=notify", "Type=notifi", "`Type` has a value");
    check("usr/lib/systemd/system/usr-lib-hale-images.mount", "Options=", "Option=", "unknown key `Option`");
    check("usr/lib/systemd/system/crio.service", "[Service]", "[Servise]", "unknown key `Servise`");
    check("usr/lib/sysusers.d/hale.conf", "/usr/sbin/nologin", "/bin/sh", "never logs in");
    check("usr/lib/tmpfiles.d/hale.conf", "0750", "750", "four octal digits");
    check("usr/lib/sysctl.d/60-hale.conf", "kernel.panic = 10", "kernel.panic = soon", "takes a number");
    check(
        "usr/lib/modprobe.d/hale.conf",
        "blacklist kvm\n",
        "blacklist virtio_blk\n",
        "unknown key `virtio_blk`",
    );
    check("usr/lib/modprobe.d/hale.conf", "blacklist kvm\n", "install kvm\n", "unknown key `install`");
    check("etc/apt/preferences.d/hale", "Pin-Priority: 1001", "Pin-Priority: high", "not a priority");
    check("etc/apt/preferences.d/hale", "Pin-Priority: 1001\n", "", "`Pin-Priority` is missing");
    check("usr/lib/hale/role.toml", "10.0.3.16-", "10.0.3.1-", "not free");
}

#[test]
fn kubeadm_documents_have_a_schema_too() {
    let check = |text: &str, expect: Option<&str>| {
        let found = check_file("usr/lib/hale/kubeadm.yaml", SourceText::new("kubeadm.yaml", text)).err();
        let found = found.map(|fault| fault.to_string());
        assert_eq!(found.is_some(), expect.is_some(), "{found:?}");
        assert!(expect.is_none_or(|e| found.as_deref().unwrap_or("").contains(e)), "{found:?}");
    };
    let head =
        "apiVersion: kubeadm.k8s.io/v1beta2\nkind: ClusterConfiguration\nkubernetesVersion: v1.17.17\n";
    check(&format!("{head}scheduler:\n  extraArgs:\n    port: \"0\"\n"), None);
    check(&format!("{head}scheduler:\n  extraArg:\n    port: \"0\"\n"), Some("unknown key `extraArg`"));
    check(&format!("{head}scheduler:\n  extraArgs:\n    port: 0\n"), Some("`port` has a value"));
    check(&head.replace("v1beta2", "v1beta3"), Some("another version"));
    check("apiVersion: v1\nkind: Pod\n", Some("without a schema"));
}

/// Who writes out what the line knows is held to the line's rules.
#[test]
fn a_file_that_goes_against_a_rule_of_the_line_is_refused() {
    let check = |file: &str, from: &str, to: &str, expect: &str| {
        let (mut files, recipe) = shipped();
        let text = files.get_mut(file).unwrap();
        assert!(text.contains(from), "{file}: no {from}");
        *text = text.replacen(from, to, 1);
        let told = lint(&files, &recipe).map(|_| ()).map_err(|fault| fault.to_string());
        match expect {
            "" => assert_eq!(told, Ok(()), "{to}"),
            _ => assert!(
                told.as_ref().is_err_and(|told| told.starts_with(file) && told.contains(expect)),
                "{told:?}"
            ),
        }
    };
    let crio = "overlays/common/etc/crio/crio.conf.d/10-hale.conf";
    let (crun, profile) = ("\"{{ line.crun }}\"", "\"{{ line.apparmor-profile }}\"");
    check(crio, crun, "\"/usr/lib/hale/crun\"", "");
    check(crio, crun, "\"/usr/bin/crun\"", "against rule `zero-memory-limit`");
    check(crio, profile, "\"crio-default-1.17.4\"", "");
    check(crio, profile, "\"crio-default\"", "its name follows CRI-O's version");
    let role = "overlays/node/usr/lib/hale/role.toml";
    check(role, "{{ line.shim }}", "false", "against rule `zero-memory-limit`");
    check(role, profile, "\"crio-default-1.17.5\"", "its name follows CRI-O's version");
}

#[test]
fn a_file_without_a_schema_and_a_value_without_a_file_are_refused() {
    let (mut files, recipe) = shipped();
    files.insert("overlays/node/etc/motd".to_owned(), "hello\n".to_owned());
    let fault = lint(&files, &recipe).unwrap_err();
    assert!(fault.to_string().starts_with("overlays/node/etc/motd:1: no schema knows /etc/motd"), "{fault}");
    files.remove("overlays/node/etc/motd");
    let storage = files.get_mut("overlays/common/usr/lib/hale/kubelet.yaml").unwrap();
    *storage = storage.replace("{{ host.fail-swap-on }}", "true");
    let fault = lint(&files, &recipe).unwrap_err();
    assert!(fault.to_string().contains("no overlay uses `host.swap`"), "{fault}");
    let crio = files.get_mut("overlays/common/etc/crio/crio.conf.d/10-hale.conf").unwrap();
    *crio = crio.replace("containers.pids-limit", "containers.pid-limit");
    let fault = lint(&files, &recipe).unwrap_err();
    assert_eq!(fault.what(), "unknown value `containers.pid-limit`");
    assert_eq!(fault.help_text(), Some("write `{{ containers.pids-limit }}`"));
}
