# Pods try what they must not be able to do; then root of the host does the same, to show that it can be seen.
. checks/common.sh
place=/var/lib/probes
NAME=$(uname -n)

# What there is to attack.
mkdir -p $place/acts $place/closed $place/spread
chmod 700 $place/closed
cp checks/act.sh $place/
cp /usr/bin/touch $place/touch
chmod 4755 $place/touch
(sleep 5000 & echo $! > $place/pid) >/dev/null 2>&1
ipcmk --shmem 4096 --mode 600 | grep -o '[0-9]*$' > $place/memory
printf '[Service]\nExecStart=/usr/bin/touch /run/hale-probe\n' > /run/systemd/system/hale-probe.service
systemctl daemon-reload

# A secret of another pod's.
TOKEN=$(find /var/lib/kubelet/pods -path '*kubernetes.io~secret*' -name token | head -n 1)
[ -e "$TOKEN" ]

# The acts, in their order, for each pod to find.
number=100
probe() {
    number=$((number + 1))
    mkdir -p "$place/acts/$2"
    printf '%s\n' "$3" > "$place/acts/$2/$number-$1"
}
. checks/probes.sh

# pod NAME FIELDS PRIVILEGED PATH…: tries its acts, with these paths of the host below /host, and says which went well.
pod() {
    name=$1 fields=$2 privileged=$3 at='' from='' count=0
    shift 3
    for path in "$@"; do
        count=$((count + 1))
        at="$at, {name: host-$count, mountPath: \"/host$path\"$spread}"
        from="$from, {name: host-$count, hostPath: {path: $path}}"
    done
    kubectl create -f - <<P
apiVersion: v1
kind: Pod
metadata: {name: probe-$name, labels: {app: probe}}
spec:
  nodeName: $own
  restartPolicy: Never
  tolerations: [{operator: Exists}]
  terminationGracePeriodSeconds: 1
  $fields
  containers:
  - name: probe
    image: $(image)
    imagePullPolicy: Never
    env: [{name: H, value: /host}, {name: PROFILE, value: unconfined}]
    command:
    - /usr/bin/sh
    - -c
    - |
      mkdir -p /tmp && ln -s usr/bin /bin && ln -s usr/sbin /sbin
      for act in /acts/*; do
          if timeout 60 sh /act.sh \$act >/tmp/said 2>&1; then echo "\${act#*-} worked"; else echo "\${act#*-} failed: \$(tail -n 1 /tmp/said)"; fi
      done
      echo that is all
    securityContext: {privileged: $privileged}
    volumeMounts: [$mounts, {name: acts, mountPath: /acts, readOnly: true}, {name: act, mountPath: /act.sh, readOnly: true}$at]
  volumes: [$volumes, {name: acts, hostPath: {path: $place/acts/$name}}, {name: act, hostPath: {path: $place/act.sh}}$from]
P
}
# Its acts were tried; or the kernel let nobody make such a container in a user namespace, and CRI-O says so.
has_ended() {
    kubectl logs "probe-$pod" > "$place/$pod" && grep '^that is all$' "$place/$pod" && return
    kubectl get pod "probe-$pod" -o 'jsonpath={.status.containerStatuses[0].state.waiting.message}' > "$place/$pod"
    grep 'container create failed: .*Operation not permitted' "$place/$pod"
}
spread=
pod plain '' false
pod host '' false / /run /dev /proc /sys
pod privileged '' true /etc /boot /dev /proc /sys /var/lib/probes
pod host-pid 'hostPID: true' true /var/lib/probes
pod host-ipc 'hostIPC: true' true /var/lib/probes
pod host-network 'hostNetwork: true' false /var/lib/probes
pod privileged-host-network 'hostNetwork: true' true
spread=', mountPropagation: Bidirectional'
pod spreading '' true /var/lib/probes
for pod in plain host privileged spreading host-pid host-ipc host-network privileged-host-network; do
    within 900 has_ended || kubectl describe pod "probe-$pod" | tail -n 5
    cat "$place/$pod"
done
kubectl get pods -o wide

# Nothing of it is to be seen on the host, and the same act of root's is.
H='' PROFILE=$(sed -n 's/^apparmor-profile = "\(.*\)"/\1/p' /usr/lib/hale/role.toml)
export H PROFILE
set +ex
set -- /dev/null
. $place/act.sh
wrong=0 number=100
probe() {
    number=$((number + 1))
    tried=$(grep "^$1 " "$place/$2" || sed "s/^container create failed/$1 failed/" "$place/$2" | grep "^$1 failed" ||
        echo "$1 was not tried")
    trace=none after=none
    if [ -n "${4:-}" ]; then (eval "$4") >/dev/null 2>&1 && trace=yes || trace=no; fi
    timeout 60 sh "$place/act.sh" "$place/acts/$2/$number-$1" >/dev/null 2>&1 && control=worked || control=failed
    if [ -n "${4:-}" ]; then (eval "$4") >/dev/null 2>&1 && after=yes || after=no; fi
    (eval "${5:-}") >/dev/null 2>&1
    case "$tried, $trace, $control, $after" in
        *" failed"*", none, worked, none" | *" worked, no, worked, yes" | *" failed"*", no, worked, yes") ;;
        *) wrong=$((wrong + 1)); echo "NOT AS IT SHOULD BE: $2: $tried; trace $trace; control $control, trace $after" ;;
    esac
}
. checks/probes.sh >$place/wrong
set -e
echo "$((number - 100)) probes, $wrong wrong"
cat $place/wrong
[ $((number - 100)) -ge 90 ]
[ $wrong = 0 ]
kubectl delete pods -l app=probe
rm -r $place /run/systemd/system/hale-probe.service
systemctl daemon-reload
