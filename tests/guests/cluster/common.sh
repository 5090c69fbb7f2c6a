# What the cluster's scripts share; each of them reads it.

# Who asks the API server, and which node this is.
if [ -e /etc/kubernetes/admin.conf ]; then
    export KUBECONFIG=/etc/kubernetes/admin.conf
    own=master other=10.0.3.2
else
    export KUBECONFIG=/etc/kubernetes/kubelet.conf
    own=node-1 other=10.0.3.1
fi

# Tries something until it goes well, for so many seconds at most.
within() {
    end=$(($(date +%s) + $1))
    shift
    until "$@"; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        sleep 3
    done
}

# Something does not go well. (`!` alone would not end a script.)
fails() {
    if "$@"; then return 1; fi
}

# This node is ready, says the API server; and what it says is of this boot.
is_ready() {
    kubectl get node "$own" --request-timeout=30s \
        -o jsonpath='{.status.nodeInfo.bootID} {.status.conditions[?(@.type=="Ready")].status}' |
        grep "^$(cat /proc/sys/kernel/random/boot_id) True$"
}

# An image that every node has. What a pod runs is the host's, shown to it and not writable.
image() {
    kubectl -n kube-system get deployment coredns -o jsonpath='{.spec.template.spec.containers[0].image}'
}
mounts='{name: usr, mountPath: /usr, readOnly: true}, {name: lib, mountPath: /lib, readOnly: true}, {name: lib64, mountPath: /lib64, readOnly: true}'
volumes='{name: usr, hostPath: {path: /usr}}, {name: lib, hostPath: {path: /usr/lib}}, {name: lib64, hostPath: {path: /usr/lib64}}'

# The pods that ask, one a node, have their answers.
have_answers() {
    pods=$(kubectl get pods -l app=ask --field-selector status.phase=Running -o name)
    [ "$(echo "$pods" | wc -l)" = 2 ] || return 1
    for pod in $pods; do
        kubectl logs "$pod" | grep '10.96.0.1.*kubernetes' || return 1
    done
}

# New pods ask, one a node.
ask_anew() {
    kubectl delete pods -l app=ask
    within 900 have_answers
    kubectl get pods --all-namespaces -o wide
}

# The first process of the pod that asks is the range's first id here, and confined.
asker_is_nobody() {
    pid=$(pgrep -f -o 'sleep 777777')
    grep -E '^(Uid|Seccomp|CapBnd)' "/proc/$pid/status"
    [ "$(awk '{print $1, $2, $3}' "/proc/$pid/uid_map")" = '0 10000000 65536' ] || return 1
    [ "$(awk '/^Uid:/ {print $2}' "/proc/$pid/status")" = 10000000 ] || return 1
    [ "$(awk '/^Seccomp:/ {print $2}' "/proc/$pid/status")" = 2 ] || return 1
    [ "$(awk '/^CapBnd:/ {print $2}' "/proc/$pid/status")" = 0000000000000400 ] || return 1
    grep '(enforce)' "/proc/$pid/attr/current"
}

# Starts this machine anew, once the answer to the script is given.
restart() {
    (sleep 5 && systemctl reboot) >/dev/null 2>&1 &
}

# Ports of this machine's that nobody asked for: one that the packet filter is told of, and one that it is not.
canary=31999 hidden=31998
# SIGTERM ends them, which is no failure.
open_canary() {
    for port in $canary $hidden; do
        systemd-run --unit="canary-$port" --property=SuccessExitStatus=143 \
            socat "TCP-LISTEN:$port,fork,reuseaddr" OPEN:/dev/null
    done
    nft add element inet hale lan_tcp "{ $canary }"
}
close_canary() {
    systemctl stop "canary-$canary" "canary-$hidden"
    systemctl reload hale-filter
}

# Scans the other machine: which of all TCP ports take a connection.
open_ports() {
    bash -c '
        scan() { for ((port = $2; port < 65536; port += 16)); do { true <>"/dev/tcp/$1/$port"; } 2>/dev/null && echo "$port"; done; }
        for first in {1..16}; do scan "$0" "$first" & done
        wait' "$other" | sort -n | tr '\n' ' '
}

# Whoever pins nothing would get newer versions of everything here. One package may move: it shows that they would.
offer_newer() {
    folder=/var/lib/foreign
    mkdir -p "$folder/tree/DEBIAN"
    for package in hale-canary/1 $(apt-mark showhold | sed 's|$|/99:99|') hale-canary/99; do
        name=${package%/*} version=${package#*/}
        printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: t\n' \
            "$name" "$version" > "$folder/tree/DEBIAN/control"
        dpkg-deb --root-owner-group -Znone --build "$folder/tree" "$folder/$name.deb"
        [ "$version" != 1 ] || dpkg -i "$folder/$name.deb"
        cat "$folder/tree/DEBIAN/control" - >> "$folder/Packages" <<P
Filename: ./$name.deb
Size: $(stat -c %s "$folder/$name.deb")
SHA256: $(sha256sum "$folder/$name.deb" | cut -d' ' -f1)

P
    done
    echo "deb [trusted=yes] copy:$folder ./" > /etc/apt/sources.list.d/foreign.list
    apt-get update
}

# What is pinned, and its state.
pinned() {
    # shellcheck disable=SC2046 # one package a word
    dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\n' $(apt-mark showhold)
}

# What a node's writers were told is written.
acknowledged() {
    pod=$(kubectl -n written get pods --field-selector "spec.nodeName=$1" -o name)
    kubectl -n written logs "$pod" --tail=-1 | grep '^configmap/'
}

# All of it is there. The one that nobody wrote is missed, so another would be.
none_is_lost() {
    { acknowledged "$1" && echo configmap/never-written; } | sort > /run/acknowledged
    kubectl -n written get configmaps -o name | sort > /run/stored
    wc -l /run/acknowledged /run/stored
    [ "$(comm -23 /run/acknowledged /run/stored)" = configmap/never-written ]
}

# A node's writers write on.
writes_on() {
    before=$(acknowledged "$1" | wc -l)
    more() { [ "$(acknowledged "$1" | wc -l)" -gt $((before + 50)) ]; }
    within 900 more "$1"
}

# Everything that ends is good for most of a year from now on.
is_good_for_long() {
    openssl x509 -noout -enddate -checkend $((300 * 86400)) -in "$1"
}
