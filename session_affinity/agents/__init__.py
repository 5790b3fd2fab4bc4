"""Agents that judge the nodes they run on, and the coordinator that asks them all for one run.

An agent is in its node's network namespace and listens nowhere: it connects to the coordinator, which listens in its
own pod's namespace and is started, and spoken to, by the run over one exec. Both sides prove that they have the secret
of the run before anything is asked. An agent answers a fixed set of questions, has no rights in the API, and keeps
nothing.
"""
