# For the scan to find, besides.
. checks/common.sh
open_canary
