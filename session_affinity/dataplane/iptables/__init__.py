"""The iptables backend: rules of the tables nat and filter, and recent lists of the kernel module xt_recent.

``save`` parses ``iptables-save``, ``expected`` computes the rules of a Service, ``compare`` finds the differences,
``leftovers`` finds what no Service calls for, ``queries`` reads facts out of a ruleset, and ``backend`` implements
``dataplane.backend.Backend`` with them.
"""
