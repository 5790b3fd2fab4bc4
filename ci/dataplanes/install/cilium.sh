#!/usr/bin/env bash
# Installs Cilium on the kind cluster session-affinity, with kubeProxyReplacement true or false. Usage: cilium.sh REPLACEMENT
# VERSION in the environment is Cilium's release.
set -euo pipefail
replacement=$1

# Beside kube-proxy Cilium balances what pods send to cluster IPs, and knows affinity there only with sessionAffinity.
helm install cilium cilium --repo https://helm.cilium.io --version "${VERSION#v}" --namespace kube-system \
    --set kubeProxyReplacement="$replacement" --set sessionAffinity=true --set ipam.mode=kubernetes \
    --set k8sServiceHost=session-affinity-control-plane --set k8sServicePort=6443 \
    --set loadBalancer.serviceTopology=true --set operator.replicas=1
kubectl --namespace kube-system rollout status daemonset/cilium --timeout=300s
