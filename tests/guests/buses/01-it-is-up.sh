[ -z "$(systemctl --failed --plain --no-legend)" ]
[ -z "$(dpkg --audit)" ]
# On the disk that it was booted from.
findmnt -n -o SOURCE / | grep -E '^/dev/(nvme0n1p|sda)3$'
