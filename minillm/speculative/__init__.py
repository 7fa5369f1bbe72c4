"""Speculative decoding: several tokens from one pass. Read `rounds`, then `drafters`, `draft_length`, `generation`."""
