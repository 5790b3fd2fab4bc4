"""The testbed: nodes, kube-proxy and client of one IP family, waiting for a sync, and node port targets."""
