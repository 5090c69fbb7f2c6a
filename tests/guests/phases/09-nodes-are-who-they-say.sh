# The kubelet has a certificate of the cluster's for its name and address; nobody gets one under the master's name.
export KUBECONFIG=/etc/kubernetes/admin.conf
serving=/var/lib/kubelet/pki/kubelet-server-current.pem
openssl verify -purpose sslserver -CAfile /etc/kubernetes/pki/ca.crt "$serving"
openssl x509 -in "$serving" -noout -subject -ext subjectAltName | tr -d '\n' | grep 'CN = system:node:master.*DNS:master, IP Address:10.0.3.1'
if kubectl get clusterrolebinding kubeadm:node-autoapprove-bootstrap; then exit 1; fi
if hale token --for master; then exit 1; fi
# A token for one node; who asks with it for another's name, or the master's, waits for ever.
token=$(hale token --for node-1 --pods 10.0.3.61-10.0.3.105 | sed -n 's/^token = "\(.*\)"/\1/p')
printf '[req]\ndistinguished_name = none\nstring_mask = default\n[none]\n' >/run/trial.cnf
ask() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config /run/trial.cnf -keyout /run/trial.key \
        -subj "/O=system:nodes/CN=system:node:$1" >/run/trial.csr
    kubectl --kubeconfig /dev/null --server https://10.0.3.1:6443 --certificate-authority /etc/kubernetes/pki/ca.crt \
        --token "$token" create -f - <<P
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: trial-$1}
spec:
  request: $(base64 -w0 </run/trial.csr)
  signerName: kubernetes.io/kube-apiserver-client-kubelet
  usages: [digital signature, key encipherment, client auth]
P
}
for name in master node-2 node-1; do ask $name; done
conditions() { kubectl get csr "trial-$1" -o 'jsonpath={.status.conditions[*].type}'; }
begun=$(date +%s)
until [ "$(conditions node-1)" = Approved ]; do
    systemctl status hale-approve.service --no-pager
    [ $(($(date +%s) - begun)) -lt 300 ]
    sleep 5
done
[ -z "$(conditions master)" ]
[ -z "$(conditions node-2)" ]
systemctl stop hale-approve.service
