#!/usr/bin/env bash
# Installs kube-router on the kind cluster session-affinity, without kube-proxy. VERSION in the environment is its release.
set -euo pipefail
manifests=https://raw.githubusercontent.com/cloudnativelabs/kube-router/$VERSION/daemonset
kubeconfig=$(mktemp)
trap 'rm -f "$kubeconfig"' EXIT

# kube-router takes kube-proxy's kubeconfig, which a cluster without kube-proxy does not have.
cat >"$kubeconfig" <<'KUBECONFIG'
apiVersion: v1
kind: Config
clusters:
  - name: default
    cluster:
      certificate-authority: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
      server: https://session-affinity-control-plane:6443
users:
  - name: default
    user:
      tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token
contexts:
  - name: default
    context: {cluster: default, user: default, namespace: default}
current-context: default
KUBECONFIG
kubectl create configmap kube-proxy --namespace kube-system --from-file=kubeconfig.conf="$kubeconfig"
curl --fail --silent --show-error --location --retry 3 "$manifests/kubeadm-kuberouter-all-features.yaml" |
    sed "s|\(image: .*cloudnativelabs/kube-router\).*|\1:$VERSION|" | kubectl apply --filename -
kubectl --namespace kube-system rollout status daemonset/kube-router --timeout=300s
