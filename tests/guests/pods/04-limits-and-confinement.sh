pid=$(podman inspect -f '{{.State.Pid}}' box)
grep 'hale-trial (enforce)' /proc/$pid/attr/current
grep '^Seccomp:.2$' /proc/$pid/status
group=$(sed -n 's/^[0-9]*:pids://p' /proc/$pid/cgroup)
[ "$(cat "/sys/fs/cgroup/pids$group/pids.max")" = 128 ]
