# What a scan cannot see, by the kernel: UDP, and what is bound to one address alone. The doctor sees one more.
. checks/common.sh
fails hale doctor
close_canary
ss -Hlntup
[ -z "$(ss -Hlnu | awk '{print $4}' | grep -vE '^(127\.|\[::1\])')" ]
reachable=$(ss -Hlnt | awk '{print $4}' | grep -vE '^(127\.|\[::1\])' | sed 's/.*://' | sort -nu | tr '\n' ' ')
[ "$reachable" = "10250 " ]
