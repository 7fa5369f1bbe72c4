"""Exercises: a learner's functions, run apart from everything else and compared with what they should return."""
