. checks/common.sh
within 2400 is_ready
cut -d' ' -f1 /proc/uptime
date
