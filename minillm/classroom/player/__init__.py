"""The lesson player: cells, questions, progress, notebooks."""
