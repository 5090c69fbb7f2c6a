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
          account=/var/run/secrets/kubernetes.io/serviceaccount
          # One connection carries all of a minute's requests: kubectl would need most of a processor to start.
          write() {
              number=0
              while :; do
                  number=\$((number + 1))
                  object="{\\"apiVersion\\":\\"v1\\",\\"kind\\":\\"ConfigMap\\",\\"metadata\\":{\\"name\\":\\"\$1-\$number\\"}}"
                  printf 'POST /api/v1/namespaces/written/configmaps HTTP/1.1\r\nHost: kubernetes\r\n'
                  printf 'Authorization: Bearer %s\r\n' "\$(cat \$account/token)"
                  printf 'Content-Type: application/json\r\nContent-Length: %s\r\n\r\n%s' "\${#object}" "\$object"
                  sleep 0.5
              done | timeout 60 openssl s_client -quiet -verify_return_error -CAfile \$account/ca.crt \
                  -connect "\$KUBERNETES_SERVICE_HOST:443" |
                  sed -u -n 's|^{"kind":"ConfigMap".*"metadata":{"name":"\([^"]*\)".*|configmap/\1|p'
          }
          for writer in 1 2; do
              while :; do
                  write "\$NODE-\$writer-\$(date +%s)"
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
