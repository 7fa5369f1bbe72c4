"""Grading: mark the submissions of a class. Start with `result.py`, which every other file produces or shows."""
