# Sockets, owners, packages, certificates, names, all as promised. Containers of podman's are none that it judges, and their
# bundles lie elsewhere; no time server is to be heard.
hale doctor > /run/doctor || true
cat /run/doctor
[ "$(grep -c '^yes ' /run/doctor)" -ge 11 ]
[ "$(grep '^NO ' /run/doctor | grep -cv 'bundle')" = 0 ]
grep '^yes .*DNS' /run/doctor
