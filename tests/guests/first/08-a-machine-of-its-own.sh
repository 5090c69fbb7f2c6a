grep -E '^[0-9a-f]{32}$' /etc/machine-id
[ -z "$(find /etc/ssh -name 'ssh_host_*' 2>/dev/null)" ]
# Nobody can log in before somebody says who may.
[ -z "$(awk -F: '$2 ~ /^[$]/' /etc/shadow)" ]
