. checks/common.sh
found=$(open_ports)
[ "$found" = "10250 $canary " ]
