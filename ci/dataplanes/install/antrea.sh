#!/usr/bin/env bash
# Installs Antrea on the kind cluster session-affinity, without kube-proxy. VERSION in the environment is Antrea's release.
set -euo pipefail

helm install antrea antrea --repo https://charts.antrea.io --version "${VERSION#v}" --namespace kube-system \
    --set antreaProxy.proxyAll=true --set kubeAPIServerOverride=https://session-affinity-control-plane:6443
kubectl --namespace kube-system rollout status daemonset/antrea-agent --timeout=300s
