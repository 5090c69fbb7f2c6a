systemctl --failed
[ -z "$(systemctl --failed --plain --no-legend)" ]
# The bootstrap is done once and for all.
[ "$(systemctl is-enabled hale-bootstrap || true)" = disabled ]
[ "$(systemctl is-active hale-bootstrap || true)" = inactive ]
