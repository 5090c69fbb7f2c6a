pid=$(podman inspect -f '{{.State.Pid}}' box)
for set in CapEff CapPrm CapBnd; do
    grep "^$set:.0000000000000400$" /proc/$pid/status
done
