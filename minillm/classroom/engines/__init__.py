"""Engines of learners: test a file with their own functions against the properties of minillm's engine."""
