# Its disk has the label, and a file that is no text.
[ -e /dev/disk/by-label/HALE-SEED ]
[ ! -e /etc/hale/node.toml ]
systemctl is-active hale-bootstrap || systemctl show -P SubState hale-bootstrap | grep -x auto-restart
hale status
hale status | grep -i seed
