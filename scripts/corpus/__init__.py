"""A seeded generator of simple English: stories, facts, sums, counting and patterns, with a part held out."""
