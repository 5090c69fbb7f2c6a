[ -z "$(dpkg --audit)" ]
apt-get check
[ -z "$(debsums -s 2>&1)" ]
