# Every phase to the last, without hands. The kubelet's stand-in says that the node is ready.
begun=$(date +%s)
until [ -e /var/lib/hale/bootstrapped ]; do
    [ $(($(date +%s) - begun)) -lt 1800 ]
    sleep 5
done
hale status
cut -d' ' -f1 /proc/uptime
