"""Serving: how other programs use the engine."""
