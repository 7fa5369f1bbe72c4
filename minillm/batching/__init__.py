"""Batching: many requests share each forward pass, since the weights are read once for all of them.

`static_batching` waits for the longest of a batch; `engine` decides anew before every pass who takes part.
"""

from minillm.batching.engine import Engine, NewToken
from minillm.batching.request import Request
from minillm.batching.static_batching import StaticBatching

__all__ = ["Engine", "NewToken", "Request", "StaticBatching"]
