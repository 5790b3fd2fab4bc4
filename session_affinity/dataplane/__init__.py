"""What a node's dataplane should hold, what it does hold, and how the two differ; nothing here talks to a cluster."""
