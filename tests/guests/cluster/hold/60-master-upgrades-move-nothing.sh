. checks/common.sh
before=$(pinned)
offer_newer
apt-get -y -o Dpkg::Options::=--force-confold dist-upgrade
[ "$(dpkg-query -W -f '${Version}' hale-canary)" = 99 ]
[ "$(pinned)" = "$before" ]
# Even who asks for it by name is refused.
fails apt-get -y install kubelet=99:99
[ "$(pinned)" = "$before" ]
dpkg --purge hale-canary
rm -r /var/lib/foreign /etc/apt/sources.list.d/foreign.list
