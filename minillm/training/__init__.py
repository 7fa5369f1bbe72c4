"""Training in NumPy: the backward pass by hand, AdamW, and the loop that trained the bundled weights."""
