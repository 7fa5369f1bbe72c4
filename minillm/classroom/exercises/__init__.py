"""Exercises: stubs and solutions, checks and bug hunts, and the folder that a learner works in."""
