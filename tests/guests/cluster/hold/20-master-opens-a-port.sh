# For the scan to find, besides.
. checks/common.sh
# SIGTERM ends it, which is no failure.
systemd-run --unit=canary --property=SuccessExitStatus=143 socat "TCP-LISTEN:$canary,fork,reuseaddr" OPEN:/dev/null
