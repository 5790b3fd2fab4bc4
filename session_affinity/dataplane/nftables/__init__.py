"""The nftables backend: chains, verdict maps and affinity sets of the table ``kube-proxy``.

``table`` and ``rules`` parse ``nft -j list table``, ``layout`` has the names and the layouts of kube-proxy's versions,
``expected`` computes the objects of a Service, ``compare`` finds the differences, ``leftovers`` what no Service calls
for, and ``backend`` implements ``dataplane.backend.Backend`` with them.
"""
