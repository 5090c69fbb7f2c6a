systemctl --failed
[ -z "$(systemctl --failed --plain --no-legend)" ]
