# Who is named gets in by a key, becomes root and is told what the machine is; who is named no more is out.
mkdir -m 700 /root/trial
cp -a /etc/hale/node.toml /root/trial/was.toml
ssh-keygen -q -t ed25519 -N '' -f /root/trial/id
printf '\n[access]\noperator = "ann"\nssh-keys = ["%s"]\n' "$(cat /root/trial/id.pub)" >>/etc/hale/node.toml
systemctl restart hale-machine.service
enter() {
    ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/root/trial/known \
        -o ConnectTimeout=20 -i /root/trial/id "$@"
}
begun=$(date +%s)
until enter ann@10.0.3.1 true; do
    [ $(($(date +%s) - begun)) -lt 300 ]
    sleep 3
done
[ "$(enter ann@10.0.3.1 id -un)" = ann ]
[ "$(enter ann@10.0.3.1 sudo -n id -u)" = 0 ]
enter ann@10.0.3.1 sudo -n hale status | grep '^preflight '
# Nobody else, no other way, nowhere else.
if enter root@10.0.3.1 true; then exit 1; fi
if enter -o PubkeyAuthentication=no ann@10.0.3.1 true; then exit 1; fi
if enter ann@127.0.0.1 true; then exit 1; fi
[ "$(ss -Hltn 'sport = :22' | awk '{print $4}')" = 10.0.3.1:22 ]
# What is the operator's or opens the machine is nobody's to read, containers' root's least of all.
by_container() { setpriv --reuid 10000000 --regid 10000000 --clear-groups --bounding-set=-all cat "$1"; }
by_container /etc/passwd >/dev/null
for path in /etc/hale/node.toml /etc/shadow /etc/ssh/ssh_host_ed25519_key /etc/ssh/hale-operator.keys \
    /etc/sudoers.d/hale-operator /home/ann/.bashrc; do
    [ -s "$path" ]
    if by_container "$path"; then exit 1; fi
done
# What a person finds at a log-in.
run-parts --lsbsysinit /etc/update-motd.d | grep 'This is the master of a Hale cluster'
run-parts --lsbsysinit /etc/update-motd.d | grep '^Next: '
bash -ic '. /etc/profile.d/hale.sh; complete -p hale' | grep _hale
[ "$(readlink /home/ann/.kube/config)" = /etc/hale/operator.conf ]
[ "$(readlink /etc/issue.d/hale.issue)" = /run/hale/issue ]
# As it was.
cat /root/trial/was.toml >/etc/hale/node.toml
systemctl restart hale-machine.service
if enter ann@10.0.3.1 true; then exit 1; fi
[ "$(systemctl is-active ssh.service || true)" = inactive ]
passwd -S ann | grep ' L '
rm -r /root/trial
