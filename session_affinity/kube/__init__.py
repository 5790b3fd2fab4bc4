"""A thin layer over the official Kubernetes client: JSON in, JSON out, a timeout on every call.

The client's typed models are not used: importing them takes long, and the suite compares the API's JSON field by field.
"""
