"""Trace: looking at a run from outside, without changing what it computes."""
