# For five minutes nothing comes from there, as if a cable were out.
. checks/common.sh
# The full disk may have put the pod off; and whatever is found here, others find the cable in.
within 600 asker_is_nobody
rule() { iptables "$1" OUTPUT -d "$other" -p tcp --dport 6443 -j DROP; }
trap 'rule -D || true' EXIT
begun=$(date -u +%FT%TZ)
rule -I
sleep 10
fails kubectl get node "$own" --request-timeout=20s
asker_is_nobody
sleep 280
asker_is_nobody
rule -D
within 600 is_ready
# The master had given it up.
changed=$(kubectl get node "$own" -o jsonpath='{.status.conditions[?(@.type=="Ready")].lastTransitionTime}')
[ "$(printf '%s\n' "$begun" "$changed" | sort | head -n 1)" = "$begun" ]
