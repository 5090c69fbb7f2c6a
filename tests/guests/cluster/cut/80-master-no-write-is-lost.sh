# By the notes of the master's own writers, which went on all the time.
. checks/common.sh
writes_on master
none_is_lost master
writes_on node-1
kubectl delete namespace written
