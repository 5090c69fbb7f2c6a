. checks/common.sh
found=$(open_ports)
[ "$found" = "53 6443 10250 $canary " ]
