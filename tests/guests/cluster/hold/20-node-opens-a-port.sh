# For the scan to find, besides.
. checks/common.sh
systemd-run --unit=canary socat "TCP-LISTEN:$canary,fork,reuseaddr" OPEN:/dev/null
