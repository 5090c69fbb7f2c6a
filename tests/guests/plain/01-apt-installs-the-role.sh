. ./settings
link=$(ls /sys/class/net | grep -v '^lo$' | head -1)
ip address add 10.0.2.15/24 dev "$link"
ip link set "$link" up
ip route add default via 10.0.2.2
cp hale.asc /etc/apt/keyrings/hale.asc 2>/dev/null || { mkdir -p /etc/apt/keyrings; cp hale.asc /etc/apt/keyrings/; }
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
printf 'deb [signed-by=/etc/apt/keyrings/hale.asc] http://10.0.2.2:%s %s main\n' "$PORT" "$SUITE" > /etc/apt/sources.list.d/hale.list
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get -y --no-install-recommends install hale-master
[ -z "$(dpkg --audit)" ]
