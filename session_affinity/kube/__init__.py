"""A thin layer over the official Kubernetes client: JSON in, JSON out, a timeout on every call.

The client's typed models are not used: they take long to import, and what the suite compares is what the API says,
field by field.
"""
