//! A plain Debian 12 root, and machines that are laid over it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use builder::base::name::SuiteName;
use builder::fetch::mirror::Mirrors;
use tempfile::TempDir;
use tests::fixtures::{Shelf, pack};
use tests::runner::Shared;
use tests::tools::{bound, is_root, put, run, said, succeed, tool};

use super::programs;

/// The Kubernetes that the stand-ins are, and that a real kubeadm must be.
pub(crate) const KUBERNETES: &str = "1.20.2";

/// What a machine has apart from what our packages need: something that upgrades by itself.
const BESIDES: [&str; 2] = ["systemd-sysv", "unattended-upgrades"];

/// A plain Debian 12 with two repositories in `/srv`: ours, and one that has everything newer.
pub(crate) struct Root {
    folder: TempDir,
}

impl Shared for Root {
    fn make() -> Self {
        assert!(is_root(), "run this test as root: it installs packages in a root of its own");
        let root = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let shelf = Shelf::stock(KUBERNETES, &programs::text);
        root.debootstrap(&needed(&shelf));
        shelf.publish(&root.path("srv/hale"), "file:/srv/hale").unwrap_or_else(|fault| panic!("{fault}"));
        root.publish_newer(&shelf);
        // No archive but those two: what is not in them was installed already.
        let _ = fs::remove_file(root.path("etc/apt/sources.list"));
        fs::copy(root.path("srv/hale/hale.sources"), root.path("etc/apt/sources.list.d/hale.sources"))
            .expect("a source");
        root
    }
}

impl Root {
    fn top(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn path(&self, below: &str) -> PathBuf {
        self.top().join(below)
    }

    /// From the machine's own archives, with all that our packages want of Debian.
    fn debootstrap(&self, packages: &BTreeSet<String>) {
        let mut mmdebstrap = tool("mmdebstrap", "mmdebstrap");
        mmdebstrap.args(["--mode=root", "--variant=apt", "--quiet"]);
        let include = packages.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        mmdebstrap.arg(format!("--include={include}")).arg("bookworm").arg(self.top());
        let proxies = succeed(tool("apt-config", "apt").args(["dump", "Acquire"]));
        let proxies = String::from_utf8(proxies).expect("UTF-8");
        let proxies = proxies.lines().filter(|line| line.contains("::Proxy"));
        mmdebstrap.args(proxies.map(|line| format!("--aptopt={line}")));
        mmdebstrap.args(sources());
        succeed(&mut mmdebstrap);
    }

    /// A repository that nobody vouches for, with a newer version of everything.
    fn publish_newer(&self, shelf: &Shelf) {
        let folder = self.path("srv/newer");
        for deb in shelf.debs() {
            pack(&folder, name(&deb), "99");
        }
        let index = succeed(tool("apt-ftparchive", "apt-utils").args(["packages", "."]).current_dir(&folder));
        put(folder.join("Packages"), index);
        let release = ["-o", "APT::FTPArchive::Release::Origin=Newer", "release", "."];
        let release = succeed(tool("apt-ftparchive", "apt-utils").args(release).current_dir(&folder));
        put(folder.join("Release"), release);
    }

    /// A machine with these packages of ours.
    pub(crate) fn machine(&self, packages: &str) -> Machine {
        let machine = Machine::start(&self.top());
        machine.succeeds("apt-get -q update");
        machine.succeeds(&format!("apt-get -qy install {packages}"));
        machine
    }
}

/// What the packages depend on and are not themselves.
fn needed(shelf: &Shelf) -> BTreeSet<String> {
    let mut needed: BTreeSet<String> = BESIDES.map(str::to_owned).into();
    for deb in shelf.debs() {
        let depends = succeed(tool("dpkg-deb", "dpkg").arg("--field").arg(&deb).arg("Depends"));
        let depends = String::from_utf8(depends).expect("UTF-8");
        let names = depends.trim().split(", ").filter_map(|word| word.split(' ').next());
        needed.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
    }
    needed.retain(|wanted| shelf.debs().iter().all(|deb| name(deb) != wanted));
    needed
}

/// The name of a package's file up to its version.
fn name(deb: &Path) -> &str {
    let file = deb.file_name().and_then(|name| name.to_str()).expect("UTF-8");
    file.split('_').next().expect("a name")
}

/// The machine's own archives, as lines of apt's.
fn sources() -> Vec<String> {
    let machine = ["/etc/apt/sources.list", "/etc/apt/sources.list.d"].map(PathBuf::from);
    let mirrors = Mirrors::read(&machine).unwrap_or_else(|fault| panic!("{fault}"));
    let line = |suite: &str| {
        let name = SuiteName::new(suite).expect("a suite");
        mirrors.of(&name).ok().map(|urls| format!("deb {} {suite} main", urls[0]))
    };
    let lines: Vec<String> =
        ["bookworm", "bookworm-updates", "bookworm-security"].into_iter().filter_map(line).collect();
    assert!(!lines.is_empty(), "apt's sources of this machine have no bookworm");
    lines
}

/// A machine in namespaces of its own, without a network and without a running systemd. What it writes is in
/// memory, and gone with it.
pub(crate) struct Machine {
    holder: Child,
    init: String,
    _place: TempDir,
    place: PathBuf,
}

/// Puts the machine together at `$2` over `$1` and stays.
const SETUP: &str = r#"
mount --make-rprivate /
mount -t tmpfs -o size=4g tmpfs "$2"
cd "$2"
mkdir upper work root
mount -t overlay -o "lowerdir=$1,upperdir=upper,workdir=work" overlay root
mount -t proc proc root/proc
for folder in dev run sys tmp; do mount -t tmpfs -o mode=755 tmpfs "root/$folder"; done
chmod 1777 root/tmp
for name in full null random urandom zero; do
    : > "root/dev/$name"
    mount --bind "/dev/$name" "root/dev/$name"
done
ln -s /proc/self/fd root/dev/fd
for name in cpu cpuset memory pids; do mkdir -p "root/sys/fs/cgroup/$name"; done
mkdir -p root/sys/class/net/lxcbr0/bridge
ip link set lo up
echo 1 >root/proc/sys/net/ipv4/ip_forward
hostname seed
echo seed > root/etc/hostname
echo nameserver 127.0.0.1 > root/etc/resolv.conf
touch ready
exec sleep infinity
"#;

impl Machine {
    fn start(root: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path().to_owned();
        let mut unshare = tool("unshare", "util-linux");
        unshare.args(["--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child", "--"]);
        unshare.args(["sh", "-ec", SETUP, "machine"]).arg(root).arg(&place);
        let holder = bound(&unshare).stderr(Stdio::piped()).spawn().expect("unshare starts");
        let mut machine = Self { holder, init: String::new(), _place: folder, place };
        machine.init = machine.wait_for_init();
        machine
    }

    /// The process that holds the namespaces, once everything is mounted.
    fn wait_for_init(&mut self) -> String {
        let children = format!("/proc/{0}/task/{0}/children", self.holder.id());
        for _ in 0..600 {
            let init = fs::read_to_string(&children).unwrap_or_default().trim().to_owned();
            let ready = format!("/proc/{init}/root{}/ready", self.place.display());
            if !init.is_empty() && Path::new(&ready).exists() {
                return init;
            }
            if self.holder.try_wait().expect("the machine").is_some() {
                let mut why = String::new();
                let mut pipe = self.holder.stderr.take().expect("a pipe");
                std::io::Read::read_to_string(&mut pipe, &mut why).expect("text");
                panic!("the machine did not start: {why}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the machine was not ready within 30 s");
    }

    /// The machine's root as the host sees it.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        let root = self.place.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(&self.init).join("root").join(root).join("root").join(below)
    }

    fn shell(&self, script: &str) -> Command {
        let mut nsenter = tool("nsenter", "util-linux");
        nsenter.args(["--target", &self.init, "--mount", "--pid", "--net", "--uts", "--ipc", "--"]);
        nsenter.arg("chroot").arg(self.place.join("root")).args(["/bin/sh", "-ec", script]);
        nsenter.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
        nsenter.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
        nsenter
    }

    /// Runs a script to its end.
    pub(crate) fn run(&self, script: &str) -> Output {
        run(&mut self.shell(script))
    }

    /// Runs a script to a good end and gives what it printed.
    #[track_caller]
    pub(crate) fn succeeds(&self, script: &str) -> String {
        let output = self.run(script);
        assert!(output.status.success(), "{script}: {}\n{}", output.status, said(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Ends with this code and says one line, which is given.
    #[track_caller]
    pub(crate) fn refuses(&self, script: &str, code: i32) -> String {
        let output = self.run(script);
        let text = said(&output);
        assert_eq!((output.status.code(), text.trim().lines().count()), (Some(code), 1), "{script}: {text}");
        text
    }

    /// Starts a script that goes on beside the test.
    pub(crate) fn spawn(&self, script: &str) -> Child {
        self.shell(script).spawn().expect("nsenter starts")
    }

    /// Ends a script that [`Machine::spawn`] started and that became `program`, if it has not ended by itself,
    /// and gives its exit code.
    pub(crate) fn stop(&self, program: &str, mut script: Child) -> Option<i32> {
        self.succeeds(&format!("pkill -x {program} || true"));
        script.wait().expect("it ends").code()
    }

    /// Writes a file.
    pub(crate) fn put(&self, below: &str, text: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        put(self.path(below), text);
        fs::set_permissions(self.path(below), fs::Permissions::from_mode(mode)).expect("a mode");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
