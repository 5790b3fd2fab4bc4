"""Real Kubernetes clusters without a container engine: the release's programs in Linux namespaces of this machine."""
