"""Requests, and who answered them."""
