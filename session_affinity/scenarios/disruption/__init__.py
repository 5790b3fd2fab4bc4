"""Disruptions of nodes: kube-proxy restarts, rules that other programs change, and a thousand more Services."""
