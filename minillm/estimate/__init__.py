"""Estimates: what inference costs, by arithmetic and simulation. Nothing here runs a model."""
