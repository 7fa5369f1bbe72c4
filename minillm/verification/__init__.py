"""Verify any engine: test an engine in one file against the properties of minillm's engine."""

from minillm.verification.unsupported import Unsupported

__all__ = ["Unsupported"]
