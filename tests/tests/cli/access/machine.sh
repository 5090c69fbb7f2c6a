# Makes this machine's root, under a layer that is forgotten, a disk of ours, and tries who gets in.
# $1: a folder; $2: where the package of hale is unpacked. Its namespaces are its own: no network but loopback, and what
# is started here ends with it.
set -eu
top=$1 root=$1/root
mount -t tmpfs tmpfs "$top"
mkdir "$top/upper" "$top/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mkdir "$root/run/sshd"
ip link set lo up
ip address add 10.0.3.1/24 dev lo

cp -a "$2/usr/lib/hale" "$root/usr/lib/"
cp -a "$2/usr/bin/hale" "$root/usr/bin/hale"
cp "$3" "$root/usr/lib/hale/role.toml"
touch "$root/usr/lib/systemd/system/hale-machine.service"
rm -f "$root"/etc/ssh/ssh_host_* "$root"/etc/ssh/sshd_config.d/*
mkdir -p "$root/etc/hale" "$root/etc/skel/.kube" "$root/etc/update-motd.d" "$root/etc/kubernetes/pki"
ln -s /etc/hale/operator.conf "$root/etc/skel/.kube/config"
ln -sf /usr/lib/hale/motd "$root/etc/update-motd.d/50-hale"
mkdir -p "$root/etc/issue.d"
ln -s /run/hale/issue "$root/etc/issue.d/hale.issue"
ln -sf /usr/lib/hale/profile.sh "$root/etc/profile.d/hale.sh"
# There is no systemd here; what it is asked for is written down.
rm "$root/usr/bin/systemctl"
printf '#!/bin/sh\necho "$*" >>/run/asked\n' >"$root/usr/bin/systemctl"
chmod 755 "$root/usr/bin/systemctl"
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=kubernetes -keyout "$root/etc/kubernetes/pki/ca.key" \
    -out "$root/etc/kubernetes/pki/ca.crt" 2>/dev/null

on() { chroot "$root" "$@"; }
tell() { # Node.toml says this from now on.
    cat >"$root/etc/hale/node.toml"
    chmod 600 "$root/etc/hale/node.toml"
    # With the rights that its unit has.
    on setpriv --no-new-privs --bounding-set=-all,+audit_write,+chown,+dac_override,+fowner,+fsetid,+sys_admin \
        /usr/bin/hale machine
}
enter() {
    ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile="$top/known" \
        -o ConnectTimeout=20 -i "$top/id" "$@"
}
fails() { if "$@"; then echo "went well: $*"; exit 1; fi; }
says() { test -n "$2" && printf '%s\n' "$1" | grep -F -e "$2" >/dev/null || { echo "not said: $2"; exit 1; }; }

ssh-keygen -q -t ed25519 -N '' -f "$top/id"
hash=$(openssl passwd -6 -salt saltsalt correct-horse)
tell <<X
[access]
operator = "ann"
ssh-keys = ["$(cat "$top/id.pub")"]
password-hash = "$hash"
X

test "$(cat "$root/run/asked")" = 'restart --no-block ssh.service'

# Debian's own programs take what was written, and it is what counts.
on /usr/sbin/sshd -t
on /usr/sbin/visudo -c >/dev/null
settings=$(on /usr/sbin/sshd -T)
for line in 'listenaddress 10.0.3.1:22' 'permitrootlogin no' 'passwordauthentication no' 'allowusers ann' \
    'kbdinteractiveauthentication no' 'authenticationmethods publickey' 'permitemptypasswords no' 'usepam yes' \
    'hostkey /etc/ssh/ssh_host_ed25519_key' 'authorizedkeysfile /etc/ssh/hale-operator.keys' 'x11forwarding no'; do
    says "$settings" "$line"
done
test "$(printf '%s\n' "$settings" | grep -c '^listenaddress')" = 1
test "$(printf '%s\n' "$settings" | grep -c '^hostkey ')" = 1

# A file that others put beside ours changes nothing.
printf 'PermitRootLogin yes\nPasswordAuthentication yes\nAllowUsers root\n' >"$root/etc/ssh/sshd_config.d/50-other.conf"
says "$(on /usr/sbin/sshd -T)" 'permitrootlogin no'
says "$(on /usr/sbin/sshd -T)" 'passwordauthentication no'
rm "$root/etc/ssh/sshd_config.d/50-other.conf"

serve() { # sshd as the unit runs it, until it lets this user in.
    chroot "$root" /usr/sbin/sshd -D -e 2>>"$top/sshd.log" &
    server=$!
    until enter "$1@10.0.3.1" true 2>/dev/null; do kill -0 $server; sleep 0.2; done
}
serve ann
test "$(enter ann@10.0.3.1 id -un)" = ann
test "$(enter ann@10.0.3.1 sudo -n id -u)" = 0
says "$(enter ann@10.0.3.1 cat .kube/config)" 'current-context: "ann@hale"'
says "$(enter ann@10.0.3.1 sudo -n hale status --brief)" 'This is the master of a Hale cluster'
says "$(on run-parts --lsbsysinit /etc/update-motd.d)" 'Next: '
says "$(enter ann@10.0.3.1 bash -lic "'complete -p hale'" 2>/dev/null)" '_hale'
says "$(enter ann@10.0.3.1 hale status 2>&1 || true)" 'only root may do most of it: sudo hale'
fails enter root@10.0.3.1 true
fails enter ann@127.0.0.1 true
fails enter -o PubkeyAuthentication=no ann@10.0.3.1 true
# The control: without our settings root gets in by the same key.
mkdir -p -m 700 "$root/root/.ssh"
cp "$top/id.pub" "$root/root/.ssh/authorized_keys"
fails enter root@10.0.3.1 true
chroot "$root" /usr/sbin/sshd -D -e -f /dev/null -o HostKey=/etc/ssh/ssh_host_ed25519_key -o Port=2222 -o PermitRootLogin=yes \
    2>"$top/open.log" &
until enter -p 2222 root@10.0.3.1 true 2>/dev/null; do kill -0 $!; sleep 0.2; done
kill $!

# What stands in the node's way is shown above a log-in, by the link that a disk of ours has, and only while it does.
issue() { on script --quiet --return --command 'agetty --show-issue' /dev/null; } # agetty wants a terminal.
issue >"$top/without"
mkdir -p "$root/run/hale"
echo 'hale: preflight waits: there is no bridge lxcbr0' >"$root/run/hale/issue"
says "$(issue)" 'hale: preflight waits: there is no bridge lxcbr0'
rm "$root/run/hale/issue"
test "$(issue)" = "$(cat "$top/without")"

# What opens the machine is nobody's to read, containers' root's least of all.
by_container() { setpriv --reuid 10000000 --regid 10000000 --clear-groups --bounding-set=-all cat "$1"; }
by_container "$root/etc/passwd" >/dev/null
for path in etc/hale/node.toml etc/hale/operator.conf etc/shadow etc/ssh/ssh_host_ed25519_key \
    etc/ssh/hale-operator.keys etc/sudoers.d/hale-operator home/ann/.bashrc; do
    test -s "$root/$path"
    fails by_container "$root/$path"
done
# The one password opens a console, and nothing is in its place without one.
test "$(on getent shadow ann | cut -d: -f2)" = "$hash"

# Another operator: the former has no way in.
tell <<X
[access]
operator = "bob"
ssh-keys = ["$(cat "$top/id.pub")"]
X
kill $server
wait $server || true
serve bob
fails enter ann@10.0.3.1 true
fails on su bob -c 'sudo -n -u ann true && sudo -l -U ann | grep NOPASSWD'
test "$(on getent shadow bob | cut -d: -f2)" = '*'
says "$(on passwd -S ann)" ' L '

# And nobody: all is taken back.
echo | tell
test "$(tail -n 1 "$root/run/asked")" = 'stop ssh.service'
test ! -e "$root/etc/ssh/sshd_config.d/10-hale.conf"
test ! -e "$root/etc/ssh/hale-operator.keys"
test ! -e "$root/etc/hale/operator.conf"
test ! -e "$root/etc/sudoers.d/hale-operator"
fails enter bob@10.0.3.1 true
kill $server
echo done
