# Two pods that must be on different nodes, and a service in front of them; waits until both run.
set -e
kubectl apply -f - <<'Y'
apiVersion: apps/v1
kind: Deployment
metadata: {name: smoke}
spec:
  replicas: 2
  selector: {matchLabels: {app: smoke}}
  template:
    metadata: {labels: {app: smoke}}
    spec:
      affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: smoke}}, topologyKey: kubernetes.io/hostname}]}}
      containers:
      - name: web
        image: busybox:latest
        imagePullPolicy: Never
        command: [sh, -c, 'mkdir /w; hostname >/w/index.html; exec httpd -f -p 8080 -h /w']
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
      terminationGracePeriodSeconds: 1
---
apiVersion: v1
kind: Service
metadata: {name: smoke}
spec: {selector: {app: smoke}, ports: [{port: 80, targetPort: 8080}]}
Y
kubectl rollout status deployment/smoke --timeout=90s
kubectl get pods -l app=smoke -o wide
