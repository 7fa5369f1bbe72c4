"""KV caches: the keys and values of the tokens seen so far.

`cache` says what a forward pass asks of a cache. `contiguous` reserves one array per sequence, `paged` takes blocks
from a pool. `memory` stores keys and values as floats, `int8` in 8 bits. `blocks` hands out blocks (`neighbours` next
to each other, for speed), `prefix` finds the blocks of known tokens.
"""

from minillm.kv_cache.contiguous import KVCache
from minillm.kv_cache.paged import BlockPool, PagedKVCache

__all__ = ["BlockPool", "KVCache", "PagedKVCache"]
