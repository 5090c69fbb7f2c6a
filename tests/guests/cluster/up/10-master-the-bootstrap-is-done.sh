# Every phase to the last, without hands.
. checks/common.sh
is_done() { hale status | grep -q '^verify  *done'; }
within 2400 is_done
hale status
cut -d' ' -f1 /proc/uptime
