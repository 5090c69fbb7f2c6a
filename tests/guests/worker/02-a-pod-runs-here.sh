# The pod that the master sent here; its root is the range's first id.
begun=$(date +%s)
until pid=$(pgrep -f -o 'sleep 3600'); do
    [ $(($(date +%s) - begun)) -lt 1200 ]
    sleep 5
done
[ "$(awk '{print $1, $2}' "/proc/$pid/uid_map")" = '0 10000000' ]
[ "$(awk '/^Uid:/ {print $2}' "/proc/$pid/status")" = 10000000 ]
