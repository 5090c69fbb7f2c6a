[ -z "$(dpkg --audit)" ]
apt-get check
[ -z "$(dpkg --verify)" ]
