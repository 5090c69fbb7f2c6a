# Sockets, owners, packages, certificates, all as promised. Containers of podman's are none that it judges, and the
# drop-in that starts the kubelet's stand-in is of no package.
hale doctor > /run/doctor || true
cat /run/doctor
[ "$(grep '^NO ' /run/doctor | grep -cv 'nobody else sets')" = 0 ]
grep -A9 '^NO   nobody else sets' /run/doctor | grep 'kubelet.service.d/90-trial.conf is of no package'
[ "$(grep -c '^-    every container process' /run/doctor)" = 4 ]
for promise in 'the bootstrap is done' 'nothing listens' 'every file that pods' 'packaged files' 'pinned packages' \
    'what the bootstrap wrote' 'certificates' 'the node is ready' 'DNS'; do
    grep "^yes  $promise" /run/doctor
done
