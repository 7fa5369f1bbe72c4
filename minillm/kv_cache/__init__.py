"""KV caches: the keys and values of the tokens seen so far, in one piece (`contiguous`) or in blocks (`paged`).

`cache` says what a forward pass asks of either. `blocks` hands blocks out, `prefix` finds those of known tokens.
"""

from minillm.kv_cache.contiguous import KVCache
from minillm.kv_cache.paged import BlockPool, PagedKVCache

__all__ = ["BlockPool", "KVCache", "PagedKVCache"]
