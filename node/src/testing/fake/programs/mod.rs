//! The programs of the fake host.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::machine::{FakeHost, TOKEN};
use super::recorded::{ENDS_SOON, USER, write};
use crate::fault::Result;
use crate::host::{Command, CommandOutput, Host, RealHost};
use crate::kubernetes::kubeadm::manifest;

mod accounts;
mod answers;
mod cluster;
pub(crate) mod grammar;
mod member;
mod requests;

use answers::{failed, is_active, ok};

/// What systemd 252 says of itself while a boot is under way, and of some of its units.
const MANAGER: &str = "UserspaceTimestampMonotonic=2500000\nFinishTimestampMonotonic=0\n";
const UNITS: &str = "Id=kubelet.service\nInactiveExitTimestampMonotonic=90000000\n\
    ActiveEnterTimestampMonotonic=90250000\n\n\
    Id=crio-wipe.service\nInactiveExitTimestampMonotonic=0\nActiveEnterTimestampMonotonic=0\n\n\
    Id=dev-vda.device\nInactiveExitTimestampMonotonic=3000000\nActiveEnterTimestampMonotonic=3000000\n\n\
    Id=-.mount\nInactiveExitTimestampMonotonic=2600000\nActiveEnterTimestampMonotonic=2600000\n";

pub(super) fn run(fake: &FakeHost, command: &Command) -> Result<CommandOutput> {
    let words: Vec<&str> = command.arguments.iter().map(String::as_str).collect();
    match command.name().as_str() {
        "kubeadm" => kubeadm(fake, &words),
        "systemctl" => systemctl(fake, &words),
        "ip" => Ok(ok(&ip(fake, &words))),
        // What is loaded is what is written, without the two lines that replace what was loaded before.
        "nft" => {
            let text = fs::read_to_string(fake.path(crate::network::filter::PATH)).unwrap_or_default();
            Ok(ok(&text.lines().skip(2).collect::<Vec<_>>().join("\n")))
        }
        "hostnamectl" => Ok(ok("")),
        "crictl" if words.contains(&"ps") => {
            Ok(ok(&words.last().unwrap().replace(['^', '$'], "").replace("etcd", "etcd-id")))
        }
        "crictl" => Ok(if is_active(fake, "crio.service") { ok("") } else { failed("failed to connect") }),
        "apt-mark" => Ok(apt_mark(fake, &words)),
        "dpkg-query" if words[0] == "--search" => Ok(ok("hale-common: /etc/crio/crio.conf.d/10-hale.conf\n")),
        "dpkg-query" => {
            let line = |(name, version): (&String, &String)| format!("{name} {version} installed\n");
            Ok(ok(&fake.installed.borrow().iter().map(line).collect::<String>()))
        }
        "dpkg" => Ok(ok(&fake.verified.borrow())),
        "systemd-tmpfiles" => Ok(ok("")),
        "openssl" => openssl(fake, command, &words),
        "agetty" => Ok(ok("")),
        "journalctl" => {
            let unit = words.last().unwrap().strip_prefix("_SYSTEMD_UNIT=").unwrap();
            Ok(ok(fake.ill.borrow().get(unit).map_or("", String::as_str)))
        }
        "useradd" | "usermod" | "chpasswd" | "ssh-keygen" => accounts::run(fake, command, &words),
        "kubectl" => Ok(kubectl(fake, &words)),
        other => panic!("no fake {other}"),
    }
}

/// The bridge's addresses as iproute2 prints them, those of any other interface, or its default route.
fn ip(fake: &FakeHost, words: &[&str]) -> String {
    let state = fake.state.borrow();
    match words {
        ["-4", "route", ..] => state.route.clone(),
        [.., "lxcbr0"] => {
            let line = |address: &String| {
                format!("3: lxcbr0    inet {address}/24 brd 10.0.3.255 scope global lxcbr0\n")
            };
            state.addresses.iter().map(line).collect()
        }
        _ => {
            state.outside.iter().map(|own| format!("2: enp0s4    inet {own} scope global enp0s4\n")).collect()
        }
    }
}

fn apt_mark(fake: &FakeHost, words: &[&str]) -> CommandOutput {
    if words[0] == "showhold" {
        return ok(&fake.held.borrow().iter().map(|name| format!("{name}\n")).collect::<String>());
    }
    if let Some(left) = fake.dpkg_busy.get().checked_sub(1) {
        fake.dpkg_busy.set(left);
        if left == 0 {
            fake.installed.borrow_mut().append(&mut fake.unpacked.borrow_mut());
        }
        return failed("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1 (apt)");
    }
    let names = words[1..].iter().map(|name| (*name).to_owned());
    let mut held = fake.held.borrow_mut();
    match words[0] {
        "hold" => held.extend(names),
        _ => held.retain(|name| !words.contains(&name.as_str())),
    }
    ok("")
}

/// The real one where a test made real certificates; else what is asked of those that only look like some.
fn openssl(fake: &FakeHost, command: &Command, words: &[&str]) -> Result<CommandOutput> {
    if fake.openssl.get() {
        return RealHost::new(None).run(command);
    }
    let after = |option: &str| words.iter().position(|word| *word == option).map(|at| words[at + 1]);
    if let (Some(key), Some(request)) = (after("-keyout"), after("-out")) {
        let number = fake.commands.borrow().len();
        fs::write(key, format!("key {number}")).unwrap();
        fs::write(request, format!("request {number}")).unwrap();
        return Ok(ok(""));
    }
    if let (true, Some(certificate)) = (words.contains(&"-req"), after("-out")) {
        fs::write(certificate, format!("certificate {}", fake.commands.borrow().len())).unwrap();
        return Ok(ok(""));
    }
    let soon = || fs::read_to_string(words.last().unwrap()).is_ok_and(|text| text == ENDS_SOON);
    Ok(match words {
        _ if words.contains(&"-verify") => CommandOutput { stderr: "verify OK".into(), ..ok(PUBLIC_KEY) },
        _ if words.contains(&"-pubkey") || words.contains(&"-pubout") => ok(PUBLIC_KEY),
        _ if words.contains(&"-subject") => ok("subject=CN=system:kube-proxy\n"),
        _ if fake.certificates_end.get() || soon() => failed(""),
        _ => ok(""),
    })
}

/// What stands for every key.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nZm9v\n-----END PUBLIC KEY-----\n";

fn systemctl(fake: &FakeHost, words: &[&str]) -> Result<CommandOutput> {
    let unit = (*words.last().unwrap()).to_owned();
    let has =
        |set: &std::collections::BTreeSet<String>| if set.contains(&unit) { ok("") } else { failed("") };
    match words {
        ["--quiet", "is-enabled", _] => return Ok(has(&fake.state.borrow().enabled)),
        ["--quiet", "is-active", _] => return Ok(has(&fake.state.borrow().active)),
        ["list-units", ..] => return Ok(ok(&fake.failed.borrow())),
        ["show", _] => return Ok(ok(MANAGER)),
        ["show", _, "*"] => return Ok(ok(UNITS)),
        ["show", _, units @ ..] => {
            return Ok(ok(&units.iter().map(|unit| state(fake, unit)).collect::<String>()));
        }
        _ => {}
    }
    fake.spend()?;
    let mut state = fake.state.borrow_mut();
    match words[0] {
        "enable" => drop(state.enabled.insert(unit.clone())),
        "disable" => drop(state.enabled.remove(&unit)),
        "stop" => drop(state.active.remove(&unit)),
        _ => {}
    }
    if matches!(words[0], "start" | "restart" | "reload-or-restart") && fake.ill.borrow().contains_key(&unit)
    {
        return Ok(failed("See \"systemctl status\" and \"journalctl -xe\" for details."));
    }
    if matches!(words[0], "start" | "restart" | "reload-or-restart") || words.contains(&"--now") {
        state.active.insert(unit.clone());
    }
    if unit == "systemd-networkd.service" && words[0] == "restart" {
        let text = crate::host::files::need(fake, crate::network::networkd::BRIDGE)?;
        let address = text.lines().find_map(|line| line.strip_prefix("Address=")?.split('/').next());
        state.addresses = address.into_iter().map(str::to_owned).collect();
    }
    drop(state);
    fake.spend()?;
    Ok(ok(""))
}

/// A unit as `systemctl show` tells of it, and the empty line behind it.
fn state(fake: &FakeHost, unit: &str) -> String {
    let (active, sub, result) = match fake.ill.borrow().contains_key(unit) {
        true => ("activating", "auto-restart", "exit-code"),
        false => ("inactive", "dead", "success"),
    };
    format!("Result={result}\nId={unit}\nActiveState={active}\nSubState={sub}\n\n")
}

/// The API server runs if the kubelet does, and if what its containers must read is theirs.
fn api_is_up(fake: &FakeHost) -> bool {
    let owned = |path: &str, id: u32| fake.owner(&fake.path(path)).is_ok_and(|owner| owner == (id, id));
    let manifest = |name: &&str| fake.path(&format!("{}/{name}.yaml", manifest::DIRECTORY)).is_file();
    let local = manifest::NAMES.iter().all(manifest)
        && ["pki/apiserver.key", "pki/sa.key", "scheduler.conf"]
            .iter()
            .all(|name| owned(&format!("/etc/kubernetes/{name}"), 20_000_000))
        && ["/etc/kubernetes/pki/etcd/server.key", "/var/lib/etcd"]
            .iter()
            .all(|path| owned(path, 20_000_001));
    let remote = fake.state.borrow().objects.contains("elsewhere");
    remote || local && is_active(fake, "kubelet.service") && is_active(fake, "crio.service")
}

fn kubectl(fake: &FakeHost, words: &[&str]) -> CommandOutput {
    if !api_is_up(fake) {
        return failed("The connection to the server 10.0.3.1:6443 was refused");
    }
    fake.asked.set(fake.asked.get() + 1);
    match fake.asked.get() % fake.deaf.get() {
        0 => {}
        1 => return CommandOutput { code: None, ..CommandOutput::default() },
        _ => return failed("Unable to connect to the server: net/http: TLS handshake timeout"),
    }
    if let Some(output) = requests::kubectl(fake, words[1], &words[3..]) {
        return output;
    }
    if let Some(output) = cluster::kubectl(fake, &words[3..]) {
        return output;
    }
    let (registered, ready) = (member::is_registered(fake), member::is_ready(fake));
    let objects = &fake.state.borrow().objects;
    let there = |yes: bool| if yes { ok("") } else { failed("Error from server (NotFound): no such thing") };
    let has = |name: &str| there(objects.contains(name));
    match words[3..] {
        ["get", "--raw", "/healthz"] => ok("ok"),
        ["get", "configmap", "-n", _, name] => has(name),
        ["get", "deployment", "-n", _, name] => has(name),
        ["get", "clusterrolebinding", name] | ["get", "namespace", name] => has(name),
        ["get", "-n", "kube-system", ref things @ ..] => {
            there(things.iter().all(|thing| objects.contains(thing.split_once('/').unwrap().1)))
        }
        ["get", "node", _, "-o", _] => ok(if ready { "True" } else { "Unknown" }),
        ["get", "node", _] | ["annotate", "--overwrite", "node", _, _] => there(registered),
        ref other => panic!("no fake kubectl {other:?}"),
    }
}

fn kubeadm(fake: &FakeHost, words: &[&str]) -> Result<CommandOutput> {
    let refusal = grammar::refusal(&fake.version.borrow(), words).filter(|_| fake.kubeadm.is_none());
    if let Some(why) = refusal {
        return Ok(failed(&format!(
            "{why}\nTo see the stack trace of this error execute with --v=5 or higher\n"
        )));
    }
    if words[0] == "version" {
        return Ok(ok(&format!("{}\n", fake.version.borrow())));
    }
    fake.spend()?;
    if let Some((code, text)) = fake.next_kubeadm.borrow_mut().take() {
        let is_told = |line: &&str| words.contains(&"--v=1") || !line.starts_with("I0108 ");
        return Ok(CommandOutput {
            code,
            stdout: String::new(),
            stderr: text.split_inclusive('\n').filter(is_told).collect(),
        });
    }
    if let Some(program) = &fake.kubeadm {
        return Ok(real(fake, program.clone(), words));
    }
    match words {
        ["init", "phase", phase @ .., "--config", config] => {
            let phase: Vec<&str> = phase.iter().copied().take_while(|word| !word.starts_with("--")).collect();
            init(fake, &phase.join(" "), words, &configuration(fake, config))
        }
        ["join", ..] => member::join(fake),
        ["alpha", "certs", "renew", "all"] | ["certs", "renew", "all"] => {
            let renewed = fake.path("/etc/kubernetes/pki/apiserver.key");
            let text = fs::read(&renewed).unwrap();
            fs::remove_file(&renewed).unwrap();
            fs::write(&renewed, text).unwrap();
            fake.chown(&renewed, 0, 0).unwrap();
            Ok(ok(""))
        }
        ["--kubeconfig", _, "token", "create", "--ttl", _, "--description", words] => {
            fake.state.borrow_mut().invitations.insert(TOKEN[..6].into(), (*words).into());
            Ok(ok(&format!("{TOKEN}\n")))
        }
        ["alpha", "kubeconfig", "user", ..] => Ok(ok(USER)),
        other => panic!("no fake kubeadm {other:?}"),
    }
}

/// Reads the JSON documents of a configuration file.
pub(crate) fn configuration(fake: &FakeHost, path: &str) -> Vec<Value> {
    let text = fs::read_to_string(fake.path(path)).unwrap();
    text.split("---\n").take(2).map(|document| serde_json::from_str(document).unwrap()).collect()
}

fn init(fake: &FakeHost, phase: &str, words: &[&str], documents: &[Value]) -> Result<CommandOutput> {
    let certificates = documents[1]["certificatesDir"].as_str().unwrap().to_owned();
    let confs = words.iter().position(|word| *word == "--kubeconfig-dir").map(|at| words[at + 1].to_owned());
    let place = |path: &str| match (path.strip_prefix("/etc/kubernetes/pki"), &confs) {
        (Some(rest), _) => format!("{certificates}{rest}"),
        (None, Some(confs)) => path.replacen("/etc/kubernetes", confs, 1),
        (None, None) => path.to_owned(),
    };
    let object = |name: &str| fake.state.borrow_mut().objects.insert(name.into());
    match phase {
        "certs all" | "kubeconfig all" | "control-plane all" | "etcd local" => write(fake, phase, &place)?,
        "kubelet-start" => {
            write(fake, phase, &place)?;
            fake.state.borrow_mut().active.insert("kubelet.service".into());
        }
        _ if !api_is_up(fake) => return Ok(failed("dial tcp 10.0.3.1:6443: connect: connection refused")),
        "upload-config all" => drop(object("kubeadm-config")),
        "bootstrap-token" => {
            object("cluster-info");
            object("kubeadm:node-autoapprove-bootstrap");
        }
        "addon coredns" => drop(object("coredns")),
        "mark-control-plane" => drop(object("the master's taint")),
        "kubelet-finalize all" => drop(object("the kubelet's own certificate")),
        other => panic!("no fake phase {other}"),
    }
    fake.spend()?;
    Ok(ok(""))
}

/// Runs a real kubeadm with the fake root as its root; it must be linked statically.
fn real(fake: &FakeHost, program: PathBuf, words: &[&str]) -> CommandOutput {
    let inside = fake.path("/usr/bin/kubeadm");
    if !inside.is_file() {
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        fs::copy(program, inside).unwrap();
    }
    let mut command = std::process::Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "chroot"])
        .arg(fake.root())
        .arg("/usr/bin/kubeadm")
        .args(words);
    let output = command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output();
    let output = output.expect("unshare and chroot; they come with Debian's util-linux and coreutils");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    CommandOutput { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
