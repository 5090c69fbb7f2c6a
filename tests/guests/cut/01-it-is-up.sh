[ -z "$(systemctl --failed --plain --no-legend)" ]
[ "$(df --output=size -B 1M / | tail -1)" -gt 2500 ]
[ -z "$(dpkg --audit)" ]
