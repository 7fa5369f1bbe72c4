"""The player of lessons: cells, questions, progress, notebooks."""
