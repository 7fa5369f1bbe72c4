"""PrefixTable: which block holds the keys and values of which tokens, so that equal prefixes are computed once.

The keys and values of a token depend on every token before it. So a block is known by its own tokens *and* by its
parent, the block before it: the pair (parent, tokens) is the key of a dictionary.

The hash of a key is chained, as in vLLM: `hash_i = H(hash_(i-1), tokens_i)` (Kwon et al., 2309.06180; a flat form of
the radix tree of Zheng et al., SGLang, 2312.07104). vLLM's key is the hash alone. Here the key holds the tokens and the
parent object, and the dictionary compares them, so two prefixes with colliding hashes are never confused.
"""

from collections.abc import Sequence


class PrefixBlock:
    """A full block of known tokens after a known parent. Two of them are equal only if they are the same object.

    Attributes:
        parent: the block before this one; None at the beginning of a sequence.
        tokens: the token ids in the block.
        block: its number in the pool.
    """

    __slots__ = ("_hash", "block", "parent", "tokens")

    def __init__(self, parent: "PrefixBlock | None", tokens: tuple[int, ...], block: int) -> None:
        self.parent = parent
        self.tokens = tokens
        self.block = block
        self._hash = hash((parent, tokens))  # hash(parent) is the parent's chained hash

    def __hash__(self) -> int:
        return self._hash


class PrefixTable:
    """A dictionary from (parent, tokens) to the block that holds them.

    Example:
        >>> table = PrefixTable()
        >>> first = table.add(None, [5, 6], block=3)
        >>> second = table.add(first, [7, 8], block=1)
        >>> [known.block for known in table.find([5, 6, 7, 8, 9], block_size=2)]
        [3, 1]
    """

    def __init__(self) -> None:
        self._by_tokens: dict[tuple[PrefixBlock | None, tuple[int, ...]], PrefixBlock] = {}
        self._by_block: dict[int, PrefixBlock] = {}

    def __contains__(self, block: int) -> bool:
        return block in self._by_block

    def __len__(self) -> int:
        return len(self._by_block)

    def find(self, tokens: Sequence[int], block_size: int) -> list[PrefixBlock]:
        """Return the longest known prefix of `tokens`, in full blocks from the beginning."""
        found: list[PrefixBlock] = []
        for first in range(0, len(tokens) - block_size + 1, block_size):
            parent = found[-1] if found else None
            known = self._by_tokens.get((parent, tuple(tokens[first : first + block_size])))
            if known is None:
                break
            found.append(known)
        return found

    def add(self, parent: PrefixBlock | None, tokens: Sequence[int], block: int) -> PrefixBlock:
        """Record that `block` holds `tokens` after `parent`. If another block is known for them, that one stays.

        Returns:
            the known entry: the parent of the tokens that follow.
        """
        entry = PrefixBlock(parent, tuple(tokens), block)
        known = self._by_tokens.setdefault((parent, entry.tokens), entry)
        if known is entry:
            assert block not in self._by_block, f"block {block} holds another prefix"
            self._by_block[block] = entry
        return known

    def remove(self, block: int) -> None:
        """Drop the entry of this block. Its children are not found any more; they stay until they are evicted."""
        entry = self._by_block.pop(block)
        del self._by_tokens[entry.parent, entry.tokens]
