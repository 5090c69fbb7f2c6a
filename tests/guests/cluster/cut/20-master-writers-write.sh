# On each node two programs write to the API server, and note what it acknowledged.
. checks/common.sh
kubectl create namespace written
kubectl -n written create role writer --verb=create --resource=configmaps
kubectl -n written create rolebinding writer --role=writer --serviceaccount=written:default
kubectl create -f - <<P
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: writer, namespace: written}
spec:
  selector: {matchLabels: {app: writer}}
  template:
    metadata: {labels: {app: writer}}
    spec:
      tolerations: [{operator: Exists}]
      terminationGracePeriodSeconds: 1
      containers:
      - name: writer
        image: $(image)
        imagePullPolicy: Never
        env:
        - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        command:
        - /usr/bin/sh
        - -c
        - |
          trap exit TERM
          for writer in 1 2; do
              while :; do
                  name="\$NODE-\$writer-\$(date +%s)"
                  seq 200 | sed "s/.*/{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"\$name-&\"}}/" |
                      kubectl create --validate=false --request-timeout=20s -o name -f -
                  sleep 1
              done &
          done
          wait
        volumeMounts: [$mounts]
      volumes: [$volumes]
P
write() { [ "$(acknowledged master | wc -l)" -gt 50 ] && [ "$(acknowledged node-1 | wc -l)" -gt 50 ]; }
within 900 write
kubectl -n written get pods -o wide
