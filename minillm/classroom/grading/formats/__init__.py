"""Formats: the result as other programs expect it. Each file has one function from results to a value or a text."""
