pid=$(podman inspect -f '{{.State.Pid}}' box)
address=$(nsenter -t "$pid" -n ip -4 -o address show dev eth0 | awk '{ print $4 }')
case $address in 10.0.3.*/24) ;; *) false ;; esac
last=${address#10.0.3.}; last=${last%/24}
[ "$last" -ge 16 ] && [ "$last" -le 60 ]
bridge link show | grep 'master lxcbr0'
