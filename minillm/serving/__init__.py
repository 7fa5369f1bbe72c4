"""Serving: what other programs talk to."""
