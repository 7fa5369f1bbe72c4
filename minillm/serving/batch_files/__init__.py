"""A file of prompts in, a file of answers out, a line each; whatever interrupts it, the next run goes on from there."""
