# Paths that no pod may have: its container is not started, and the journal says why. A path beside them may be had.
. checks/common.sh
# pod NAME PRIVILEGED PATH
pod() {
    kubectl create -f - <<P
apiVersion: v1
kind: Pod
metadata: {name: shown-$1, labels: {app: shown}}
spec:
  nodeName: $own
  restartPolicy: Never
  tolerations: [{operator: Exists}]
  terminationGracePeriodSeconds: 1
  containers:
  - name: one
    image: $(image)
    imagePullPolicy: Never
    command: [/usr/bin/sleep, '100000']
    securityContext: {privileged: $2}
    volumeMounts: [$mounts, {name: host, mountPath: /host}]
  volumes: [$volumes, {name: host, hostPath: {path: $3}}]
P
}
closed='/run/containers /run/crio /run/crio/crio.sock /run/hale /var/lib/cni /var/lib/containers /var/lib/crio
    /var/lib/containers/storage/overlay /var/lib/hale /var/lib/kubelet /var/lib/kubelet/pods /var/lib/kubelet/pki
    /var/lib/kubelet/device-plugins /usr/lib/hale/images'
names=
for path in $closed; do
    name=$(echo "${path#/}" | tr /. --)
    names="$names $name"
    pod "$name" false "$path"
done
for path in / /run /var /var/lib /usr/lib/hale; do
    name=privileged$(echo "${path%/}" | tr / -)
    names="$names $name"
    pod "$name" true "$path"
done
pod control false /var/log
is_refused() {
    kubectl get pod "shown-$name" -o 'jsonpath={.status.containerStatuses[0].state.waiting.message}' | grep "hale's shim"
}
runs() {
    kubectl get pod "shown-$name" -o 'jsonpath={.status.phase}' | grep Running
}
wrong=
for name in $names; do
    within 600 is_refused || wrong="$wrong $name"
    kubectl get pod "shown-$name" -o 'jsonpath={.status.containerStatuses[0].state}{"\n"}'
done
name=control
within 600 runs
echo "not refused:$wrong"
[ -z "$wrong" ]
journalctl -b | grep -c "hale's shim.*no container's to reach"
hale doctor
hale doctor | grep 'starts were refused'
kubectl delete pods -l app=shown
