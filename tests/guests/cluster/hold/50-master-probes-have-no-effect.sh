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

# The acts, in their order, for each pod to find.
number=100
probe() {
    number=$((number + 1))
    mkdir -p "$place/acts/$2"
    printf '%s\n' "$3" > "$place/acts/$2/$number-$1"
}
. checks/probes.sh

# pod NAME FIELDS: tries its acts, and says which went well.
pod() {
    kubectl create -f - <<P
apiVersion: v1
kind: Pod
metadata: {name: probe-$1}
spec:
  nodeName: $own
  restartPolicy: Never
  tolerations: [{operator: Exists}]
  terminationGracePeriodSeconds: 1
  $2
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
    securityContext: {privileged: $3}
    volumeMounts: [$mounts, {name: acts, mountPath: /acts, readOnly: true}, {name: act, mountPath: /act.sh, readOnly: true}$4]
  volumes: [$volumes, {name: acts, hostPath: {path: $place/acts/$1}}, {name: act, hostPath: {path: $place/act.sh}}, {name: host, hostPath: {path: /}}]
P
}
host=', {name: host, mountPath: /host}'
# Its acts were tried; or the kernel let nobody make such a container in a user namespace, and CRI-O says so.
has_ended() {
    kubectl logs "probe-$pod" > "$place/$pod" && grep '^that is all$' "$place/$pod" && return
    kubectl get pod "probe-$pod" -o 'jsonpath={.status.containerStatuses[0].state.waiting.message}' > "$place/$pod"
    grep 'container create failed: .*Operation not permitted' "$place/$pod"
}
pod plain '' false ''
pod privileged '' true "$host"
pod spreading '' true ', {name: host, mountPath: /host, mountPropagation: Bidirectional}'
pod host-pid 'hostPID: true' true "$host"
pod host-ipc 'hostIPC: true' true "$host"
pod host-network 'hostNetwork: true' false "$host"
pod privileged-host-network 'hostNetwork: true' true "$host"
for pod in plain privileged spreading host-pid host-ipc host-network privileged-host-network; do
    within 600 has_ended || kubectl describe pod "probe-$pod" | tail -n 5
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
    sh "$place/act.sh" "$place/acts/$2/$number-$1" >/dev/null 2>&1 && control=worked || control=failed
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
[ $((number - 100)) -ge 20 ]
[ $wrong = 0 ]
kubectl delete pod probe-plain probe-privileged probe-spreading probe-host-pid probe-host-ipc probe-host-network \
    probe-privileged-host-network
rm -r $place /run/systemd/system/hale-probe.service
systemctl daemon-reload
