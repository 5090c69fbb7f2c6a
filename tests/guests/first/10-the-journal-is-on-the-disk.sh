# Once the machine is up, what was logged since power-on is kept.
begun=$(date +%s)
until journalctl --directory=/var/log/journal --boot --quiet --no-pager -n 1 _TRANSPORT=kernel | grep .; do
    [ $(($(date +%s) - begun)) -lt 60 ]
    sleep 1
done
[ "$(stat -c '%a %U %G' /var/log/journal)" = '2755 root systemd-journal' ]
