"""Bisection: two runs of the same tokens, compared operation by operation, up to the first one that differs."""
