"""Real Kubernetes clusters without Docker: the same programs, in namespaces of this machine."""
