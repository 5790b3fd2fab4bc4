"""Requests of client pods, and the endpoints that answered them."""
