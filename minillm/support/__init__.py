"""Support: checks, files, interrupts, printing, progress. Nothing here is about language models, so skip it."""
