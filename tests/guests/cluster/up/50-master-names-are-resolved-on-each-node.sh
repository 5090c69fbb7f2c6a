# A pod on each node asks for the API server's name, through the service address of the cluster's DNS.
. checks/common.sh
kubectl create -f - <<P
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: ask}
spec:
  selector: {matchLabels: {app: ask}}
  template:
    metadata: {labels: {app: ask}}
    spec:
      tolerations: [{operator: Exists}]
      terminationGracePeriodSeconds: 1
      containers:
      - name: ask
        image: $(image)
        imagePullPolicy: Never
        command: [/usr/bin/sh, -c, "trap exit TERM; until getent hosts kubernetes.default; do sleep 2; done; sleep 777777 & wait"]
        volumeMounts: [$mounts]
      volumes: [$volumes]
P
within 900 have_answers
kubectl get pods -o wide
