"""The bug zoo: historical bugs of public engines as small patches to minillm, each with the property that catches it.

A bug is a file in `exercises/zoo` (`bug.py` reads it). `comparison.py` runs the healthy and the patched engine in two
child processes: `patched_process.py` changes the source of one module before it is imported, and `experiment.py` runs
the property there. The installed files are never changed. `minillm zoo` is the command.
"""
