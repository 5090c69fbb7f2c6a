# The asking pod's root is the range's first id on the host.
pid=$(pgrep -f -o 'getent hosts kubernetes.default')
cat "/proc/$pid/uid_map" "/proc/$pid/status"
[ "$(awk '{print $1, $2}' "/proc/$pid/uid_map")" = '0 10000000' ]
[ "$(awk '/^Uid:/ {print $2}' "/proc/$pid/status")" = 10000000 ]
[ "$(awk '/^Seccomp:/ {print $2}' "/proc/$pid/status")" = 2 ]
[ "$(awk '/^CapBnd:/ {print $2}' "/proc/$pid/status")" = 0000000000000400 ]
