for _ in $(seq 120); do [ -e /etc/hale/node.toml ] && break; sleep 1; done
[ "$(stat -c '%U:%G %a' /etc/hale/node.toml)" = 'root:root 600' ]
grep -x 'name = "trial"' /etc/hale/node.toml
[ "$(blkid -o value -s TYPE /dev/disk/by-label/HALE-SEED)" = iso9660 ]
