"""The iptables backend: rules of the nat table, and recent lists of the kernel module xt_recent.

``save`` parses ``iptables-save``, ``expected`` computes the rules of a Service, ``compare`` finds the differences,
``queries`` reads facts out of a ruleset, and ``backend`` implements ``dataplane.backend.Backend`` with them.
"""
