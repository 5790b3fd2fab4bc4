#!/usr/bin/env bash
# Installs Calico on the kind cluster session-affinity, with the dataplane Iptables or BPF. Usage: calico.sh DATAPLANE
# VERSION in the environment is Calico's release.
set -euo pipefail
dataplane=$1
manifests=https://raw.githubusercontent.com/projectcalico/calico/$VERSION/manifests

kubectl create --filename "$manifests/operator-crds.yaml"
kubectl create --filename "$manifests/tigera-operator.yaml"
if [ "$dataplane" = BPF ]; then
    # Without kube-proxy Calico needs the API server's own address.
    kubectl create configmap kubernetes-services-endpoint --namespace tigera-operator \
        --from-literal=KUBERNETES_SERVICE_HOST=session-affinity-control-plane --from-literal=KUBERNETES_SERVICE_PORT=6443
fi
kubectl create --filename - <<MANIFEST
apiVersion: operator.tigera.io/v1
kind: Installation
metadata:
  name: default
spec:
  calicoNetwork:
    linuxDataplane: $dataplane
    ipPools:
      - cidr: 10.244.0.0/16
        encapsulation: VXLAN
MANIFEST
# The operator makes the DaemonSet after a while.
for _ in $(seq 60); do
    kubectl --namespace calico-system get daemonset calico-node >/dev/null 2>&1 && break
    sleep 5
done
kubectl --namespace calico-system rollout status daemonset/calico-node --timeout=300s
