"""The classroom: lessons to step through, and exercises, whose functions run apart from everything else."""
