# The seed is a partition of this disk. The CA's key was in it; its certificate still is.
device=$(readlink -f /dev/disk/by-label/HALE-SEED)
[ "$(lsblk --noheadings --output PKNAME "$device")" = vda ]
grep -a -c 'BEGIN CERTIFICATE' "$device"
if grep -a 'PRIVATE KEY' "$device"; then exit 1; fi
line=$(sed -n 5p /etc/kubernetes/pki/ca.key)
[ ${#line} = 64 ]
if grep -a -F "$line" "$device"; then exit 1; fi
# It is the key that the cluster was given.
openssl x509 -in /etc/kubernetes/pki/ca.crt -noout -subject -issuer -pubkey > /run/given
[ "$(openssl pkey -in /etc/kubernetes/pki/ca.key -pubout)" = "$(sed -n '/BEGIN/,/END/p' /run/given)" ]
grep -a -F "$(sed -n 5p /etc/kubernetes/pki/ca.crt)" "$device"
