# Nobody's pods may have anything of the host's. Those of the trial, which attack it, are given all there is.
. checks/common.sh
attack() {
    kubectl create --dry-run=server --as=system:serviceaccount:default:default --as-group=system:serviceaccounts \
        --as-group=system:serviceaccounts:default --as-group=system:authenticated -f - <<P
apiVersion: v1
kind: Pod
metadata: {name: attack}
spec:
  hostPID: true
  containers: [{name: one, image: $(image), securityContext: {privileged: true}, volumeMounts: [$mounts]}]
  volumes: [$volumes]
P
}
kubectl create rolebinding editor --clusterrole=edit --serviceaccount=default:default
fails attack
kubectl create -f - <<'P'
apiVersion: policy/v1beta1
kind: PodSecurityPolicy
metadata:
  name: trial
  annotations:
    seccomp.security.alpha.kubernetes.io/allowedProfileNames: '*'
spec:
  privileged: true
  allowedCapabilities: ['*']
  hostIPC: true
  hostNetwork: true
  hostPID: true
  hostPorts: [{min: 0, max: 65535}]
  volumes: ['*']
  fsGroup: {rule: RunAsAny}
  runAsUser: {rule: RunAsAny}
  seLinux: {rule: RunAsAny}
  supplementalGroups: {rule: RunAsAny}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: trial}
rules: [{apiGroups: [policy], resources: [podsecuritypolicies], resourceNames: [trial], verbs: [use]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: trial}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: trial}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: system:serviceaccounts}]
P
within 120 attack
