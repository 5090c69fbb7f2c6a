# As kubeadm's own probes ask it. What had to wait for the API server is started again and again.
begun=$(date +%s)
until python3 - <<'P'
import glob, ssl, urllib.request, yaml
manifests = sorted(glob.glob("/etc/kubernetes/manifests/*.yaml"))
containers = [container for path in manifests for container in yaml.safe_load(open(path))["spec"]["containers"]]
for container in containers:
    address = "{scheme}://{host}:{port}{path}".format(**container["livenessProbe"]["httpGet"]).lower()
    with urllib.request.urlopen(address, timeout=60, context=ssl._create_unverified_context()) as answer:
        print(container["name"], answer.status, answer.read().decode())
assert len(containers) == 4
P
do
    [ $(($(date +%s) - begun)) -lt 600 ]
    sleep 5
done
[ "$(kubectl --kubeconfig /etc/kubernetes/admin.conf get --raw /healthz)" = ok ]
