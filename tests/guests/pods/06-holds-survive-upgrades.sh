. ./settings
before=$(dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\n' | grep -E "^($PINNED) ")
dpkg -i canary.deb
# An archive of somebody else's that this machine trusts, with newer versions of everything that is pinned.
printf 'deb [trusted=yes] copy:%s/foreign ./\n' "$PWD" > /etc/apt/sources.list.d/foreign.list
apt-get update
apt-get -y -o Dpkg::Options::=--force-confold dist-upgrade
[ "$(dpkg-query -W -f '${Version}' hale-canary)" = 99 ]
[ "$(dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\n' | grep -E "^($PINNED) ")" = "$before" ]
cat > /etc/apt/apt.conf.d/99trial <<'C'
Unattended-Upgrade::Origins-Pattern { "site="; "origin=*"; };
C
unattended-upgrade --verbose || true
[ "$(dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\n' | grep -E "^($PINNED) ")" = "$before" ]
# Even who asks for it by name is refused, unless he lets the holds go.
! apt-get -y install kubelet=99
