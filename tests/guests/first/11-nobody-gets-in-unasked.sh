# The program of SSH is there; nothing of it runs, listens or is known before node.toml names somebody.
[ -x /usr/sbin/sshd ]
[ -z "$(find /etc/systemd/system -path '*.wants/ssh*' ! -lname /dev/null)" ]
[ "$(systemctl is-enabled ssh.socket || true)" = masked ]
# Started by hand it does not run either.
systemctl start ssh.service
[ "$(systemctl is-active ssh.service || true)" = inactive ]
[ -z "$(ss -Hltn 'sport = :22')" ]
[ -z "$(find /etc/ssh -name 'ssh_host_*' -o -name 'hale-operator*' -o -path '*/sshd_config.d/*')" ]
[ -z "$(awk -F: '$3 >= 1000 && $3 < 60000' /etc/passwd)" ]
[ ! -e /etc/sudoers.d/hale-operator ]
[ ! -e /etc/apt/sources.list.d/hale.sources ]
# It was asked all the same, and had nothing to do.
[ "$(systemctl show -P Result hale-machine)" = success ]
