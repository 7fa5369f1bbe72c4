"""Batching: many requests share each forward pass, because the weights are read once for all of them.

`static_batching` waits for the longest answer of a batch. `engine` decides before every pass which requests take part.
"""

from minillm.batching.engine import Engine, NewToken
from minillm.batching.request import Request
from minillm.batching.static_batching import StaticBatching

__all__ = ["Engine", "NewToken", "Request", "StaticBatching"]
