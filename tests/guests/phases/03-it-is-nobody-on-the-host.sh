for program in etcd kube-apiserver kube-controller-manager kube-scheduler; do
    pid=$(pgrep -f -o "^$program ")
    grep -E '^(Uid|Gid|Cap|Seccomp)' "/proc/$pid/status"
    [ "$(tr -s ' ' < "/proc/$pid/uid_map" | sed 's/^ //')" = '0 10000000 65536' ]
    [ "$(tr -s ' ' < "/proc/$pid/gid_map" | sed 's/^ //')" = '0 10000000 65536' ]
    [ "$(awk '/^Uid:/ {print $2}' "/proc/$pid/status")" = 10000000 ]
    [ "$(awk '/^CapBnd:/ {print $2}' "/proc/$pid/status")" = 0000000000000400 ]
    [ "$(awk '/^Seccomp:/ {print $2}' "/proc/$pid/status")" = 2 ]
    group=$(sed -n 's/^[0-9]*:pids://p' "/proc/$pid/cgroup")
    [ "$(cat "/sys/fs/cgroup/pids$group/pids.max")" = 128 ]
done
