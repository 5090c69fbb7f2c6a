. checks/common.sh
found=$(open_ports)
[ "$found" = "6443 10250 $canary " ]
