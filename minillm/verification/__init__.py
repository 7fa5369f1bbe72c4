"""Verify any engine: test an engine in one file against the properties of minillm's engine."""
