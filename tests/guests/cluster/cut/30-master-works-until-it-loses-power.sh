. checks/common.sh
writes_on master
writes_on node-1
