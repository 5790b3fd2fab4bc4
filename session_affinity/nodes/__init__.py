"""Nodes and their kube-proxy: run commands on nodes, read snapshots, discover kube-proxy's settings and restart it."""
