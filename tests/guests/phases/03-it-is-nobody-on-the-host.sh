for program in etcd kube-apiserver kube-controller-manager kube-scheduler; do
    pid=$(pgrep -f -o "^$program ")
    grep -E '^(Uid|Gid|Cap|Seccomp)' "/proc/$pid/status"
    id=20000000
    [ "$program" != etcd ] || id=20000001
    for map in uid_map gid_map; do
        [ "$(tr -s ' \n' ' ' < "/proc/$pid/$map" | sed 's/^ //; s/ $//')" = "0 10000000 65535 65535 $id 1" ]
    done
    [ "$(awk '/^Uid:/ {print $2, $3, $4, $5}' "/proc/$pid/status")" = "$id $id $id $id" ]
    [ "$(awk '/^CapBnd:/ {print $2}' "/proc/$pid/status")" = 0000000000000400 ]
    [ "$(awk '/^Seccomp:/ {print $2}' "/proc/$pid/status")" = 2 ]
    group=$(sed -n 's/^[0-9]*:pids://p' "/proc/$pid/cgroup")
    [ "$(cat "/sys/fs/cgroup/pids$group/pids.max")" = 128 ]
done
