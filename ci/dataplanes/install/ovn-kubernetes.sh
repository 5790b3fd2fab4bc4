#!/usr/bin/env bash
# Installs OVN-Kubernetes on the kind cluster session-affinity, without kube-proxy, from its Helm chart.
# VERSION in the environment is its release, v1.2 for the branch and image release-1.2.
set -euo pipefail
release=release-${VERSION#v}
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT

git clone --quiet --depth 1 --branch "$release" https://github.com/ovn-kubernetes/ovn-kubernetes "$source"
# OVN-Kubernetes does not start on a kind network with IPv6 addresses.
for node in $(kind get nodes --name session-affinity); do
    docker exec "$node" sysctl --quiet --write net.ipv6.conf.all.disable_ipv6=1
done
helm install ovn-kubernetes "$source/helm/ovn-kubernetes" --values "$source/helm/ovn-kubernetes/values.yaml" \
    --set k8sAPIServer=https://session-affinity-control-plane:6443 \
    --set podNetwork=10.244.0.0/16/24 --set serviceNetwork=10.96.0.0/16 --set ovnkube-identity.replicas=1 \
    --set global.image.repository=ghcr.io/ovn-kubernetes/ovn-kubernetes/ovn-kube-ubuntu --set global.image.tag="$release"
kubectl --namespace ovn-kubernetes rollout status daemonset/ovnkube-node --timeout=600s
