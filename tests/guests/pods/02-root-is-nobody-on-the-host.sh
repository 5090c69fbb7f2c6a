pid=$(podman inspect -f '{{.State.Pid}}' box)
[ "$(tr -s ' ' < /proc/$pid/uid_map | sed 's/^ //')" = '0 10000000 65536' ]
[ "$(tr -s ' ' < /proc/$pid/gid_map | sed 's/^ //')" = '0 10000000 65536' ]
[ "$(stat -c %u /proc/$pid)" = 10000000 ]
