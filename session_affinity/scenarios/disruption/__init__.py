"""What becomes of rules and clients when kube-proxy stops, and when somebody else changes what it wrote."""
