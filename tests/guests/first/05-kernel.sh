[ "$(sysctl -n net.ipv4.ip_forward)" = 1 ]
[ "$(sysctl -n net.bridge.bridge-nf-call-iptables)" = 1 ]
[ "$(sysctl -n kernel.unprivileged_userns_clone)" = 0 ]
[ "$(sysctl -n vm.overcommit_memory)" = 1 ]
[ "$(sysctl -n kernel.kptr_restrict)" = 2 ]
# Cgroups as this line needs them.
for name in cpu cpuset memory pids; do [ -d /sys/fs/cgroup/$name ]; done
[ ! -e /sys/fs/cgroup/cgroup.controllers ]
# What no node needs is not there, although the machine has what asks for it.
[ -z "$(grep -E '^(kvm|pcspkr|psmouse) ' /proc/modules)" ]
[ -z "$(findmnt -n /sys/kernel/debug)" ]
# Every setting of ours is in effect: no file of another package's, read later, has set it otherwise.
grep -E '^[a-z]' /usr/lib/sysctl.d/60-hale.conf > /run/settings
[ "$(wc -l < /run/settings)" -gt 20 ]
while read -r name _ value; do
    [ "$(sysctl -n "$name")" = "$value" ] || { echo "$name is $(sysctl -n "$name"), not $value"; exit 1; }
done < /run/settings
