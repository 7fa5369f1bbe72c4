"""Exercises: stubs, solutions, checks and bug hunts, and the folder in which a learner works."""
