"""Estimates: what inference takes, in bytes, operations, seconds and dollars, computed from a model's config alone.

Nothing here runs a model. Every function is pure, names or docstrings carry the units, and of the rest of minillm
only `config` is imported. Read in this order: `parameters`, `work`, `memory`, `hardware`, `roofline`, `sharding`,
`serving`, `batching`, `cost`, `queueing`. That the counts are those of a real forward pass is tested to equality
(`trace/counting.py`); `evidence/` uses them, and the engine, to judge an article's figures.
"""
