"""A small dataplane to run the suite on, which binds clients in other ways than kube-proxy does.

Traffic on an open connection renews an affinity entry; the affinity timeout is rounded up to a multiple of five
seconds; connections that no endpoint may take are refused, not dropped; terminating endpoints are not used. Everything
else it does as the Service API promises. See docs/bring-your-own-dataplane.md for how it is started.
"""
