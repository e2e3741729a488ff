# A pod on each node and a service in front of them, asked by its name from a pod until all have answered.
set -e
image=$(ctr -n k8s.io images list -q 2>/dev/null | grep '/agnhost:[^@]*$')
kubectl apply -f - <<Y
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: "$image"
        imagePullPolicy: Never
        args: [netexec, --http-port=8080]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
      terminationGracePeriodSeconds: 1
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
Y
kubectl rollout status daemonset/web --timeout=90s
kubectl get pods -l app=web -o wide
nodes=$(kubectl get nodes --no-headers | wc -l)
# kube-proxy takes a second or so to learn of a pod: 30 s at most.
end=$(($(date +%s) + 30))
: >/tmp/answers
while [ "$(sort -u /tmp/answers | wc -l)" -lt "$nodes" ] && [ "$(date +%s)" -lt $end ]; do
  kubectl exec daemonset/web -- sh -c \
    'for i in 1 2 3 4 5 6 7 8 9; do curl -fsS -m 3 http://web.default.svc.cluster.local/hostname && echo; done' >>/tmp/answers 2>/tmp/unanswered || :
done
echo 'http://web.default.svc.cluster.local answered by:'
sort /tmp/answers | uniq -c
[ "$(sort -u /tmp/answers | wc -l)" = "$nodes" ] || { cat /tmp/unanswered >&2; echo "not every pod answered" >&2; exit 1; }
kubectl delete daemonset/web service/web --wait=true
