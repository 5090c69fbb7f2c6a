# Sockets, owners, packages, certificates, all as promised. Containers of podman's are none that it judges, and
# nobody resolves names here.
hale doctor > /run/doctor || true
cat /run/doctor
[ "$(grep -c '^yes ' /run/doctor)" = 7 ]
[ "$(grep '^NO ' /run/doctor | grep -cv 'every container process\|DNS')" = 0 ]
