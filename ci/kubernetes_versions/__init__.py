"""Proposes updates of .github/kubernetes-versions.json: newer Kubernetes releases and kind node images."""
