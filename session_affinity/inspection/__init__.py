"""Why affinity of one Service works or does not: observations of a user's own Service, and what follows from them.

``cluster`` opens the cluster, ``collect`` reads it, ``diagnoses`` are pure functions of what was read, ``as_json`` and
``as_text`` show the result.
"""
