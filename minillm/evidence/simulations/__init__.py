"""Simulations that reproduce figures of papers: fragmentation of memory, and blocks that parallel samples share."""
