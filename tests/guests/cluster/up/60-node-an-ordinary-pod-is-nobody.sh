. checks/common.sh
asker_is_nobody
