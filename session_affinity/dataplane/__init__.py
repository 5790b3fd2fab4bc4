"""The Service dataplane of a node: the state expected for a Service, the state read, and the differences between them.

Everything here is a pure function of text and API objects; nothing talks to a cluster. ``model`` and ``topology`` turn
API objects into a ``ServiceState``, ``snapshot`` parses what one command read on a node, and ``backend`` is the
protocol that each proxy mode implements (``iptables``, ``nftables``). How to add one: docs/adding-a-dataplane.md.
"""
