"""Adapters that ship: other people's engines as files for `pytest --minillm-engine`.

Each is imported only when it is named. Each is also an example to copy.
"""
