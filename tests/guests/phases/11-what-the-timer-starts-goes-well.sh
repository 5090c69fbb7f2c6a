# Under all that its unit takes from it.
systemctl start hale-renew.service
[ "$(systemctl show --property=Result --value hale-renew.service)" = success ]
[ "$(systemctl show --property=NRestarts --value hale-approve.service)" = 0 ]
