# While the master goes on.
. checks/common.sh
restart
