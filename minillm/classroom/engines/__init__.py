"""Engines of learners: a file with their own functions, held to the properties that hold minillm."""
