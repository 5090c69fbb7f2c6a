[ -z "$(debsums -s 2>&1)" ]
