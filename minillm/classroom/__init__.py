"""The classroom: lessons that are stepped through, and what they ask, claim and draw with."""
