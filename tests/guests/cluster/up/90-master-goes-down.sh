. checks/common.sh
restart
