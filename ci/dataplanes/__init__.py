"""Other dataplanes than kube-proxy's tested modes, judged every night on kind; their reports go into reports/."""
