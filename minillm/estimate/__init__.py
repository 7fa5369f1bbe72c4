"""Estimates: what inference takes, in bytes, operations, seconds and dollars, computed from a model's config alone.

Nothing here runs a model. Every function is pure, and names or docstrings carry the units. Of the other modules of
minillm only `arrays` and `config` are imported. Read in this order: `parameters`, `work`, `memory`, `hardware`,
`roofline`, `sharding`, `serving`, `batching`, `cost`, `queueing`. A test shows that the counts equal those of a real
forward pass (`trace/counting.py`). `evidence/` uses the estimates, and the engine, to judge an article's figures.
"""
