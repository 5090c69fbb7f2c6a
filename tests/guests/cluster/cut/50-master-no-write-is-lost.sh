# By the notes of the node's writers, which went on all the time.
. checks/common.sh
none_is_lost node-1
writes_on node-1
none_is_lost node-1
