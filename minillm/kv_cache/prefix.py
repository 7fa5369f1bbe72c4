"""PrefixTable: which block holds the keys and values of which tokens, so that equal beginnings are computed once.

What a token leaves in the cache depends on every token before it, so a block is known by its own tokens *and* its
parent: the block before it. The dictionary's key is that pair. Its hash is chained, `hash_i = H(hash_(i-1), tokens_i)`
(Kwon et al., vLLM, 2309.06180; a flat form of the radix tree of Zheng et al., SGLang, 2312.07104), and on a hit the
dictionary compares the tokens and the parent themselves, so two prefixes whose hashes collide are never mixed up.
"""

from collections.abc import Sequence


class PrefixBlock:
    """A full block of known tokens behind a known parent. Two of them are equal only if they are the same object.

    Attributes:
        parent: what stands before it; None at the beginning of a sequence.
        tokens: what the block holds.
        block: its number in the pool.
    """

    __slots__ = ("_hash", "block", "parent", "tokens")

    def __init__(self, parent: "PrefixBlock | None", tokens: tuple[int, ...], block: int) -> None:
        """A block, its tokens, and what they follow."""
        self.parent, self.tokens, self.block = parent, tokens, block
        self._hash = hash((parent, tokens))  # of the parent this takes its hash, so that hashes form a chain

    def __hash__(self) -> int:
        """The chained hash: of these tokens and all before them."""
        return self._hash


class PrefixTable:
    """From (parent, tokens) to the block that holds them."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._by_tokens: dict[tuple[PrefixBlock | None, tuple[int, ...]], PrefixBlock] = {}
        self._by_block: dict[int, PrefixBlock] = {}

    def __contains__(self, block: int) -> bool:
        """Whether a prefix is known to lie in this block."""
        return block in self._by_block

    def __len__(self) -> int:
        """How many blocks hold known prefixes."""
        return len(self._by_block)

    def find(self, tokens: Sequence[int], block_size: int) -> list[PrefixBlock]:
        """The longest known prefix of these tokens, in whole blocks from the beginning."""
        found: list[PrefixBlock] = []
        for first in range(0, len(tokens) - block_size + 1, block_size):
            parent = found[-1] if found else None
            known = self._by_tokens.get((parent, tuple(tokens[first : first + block_size])))
            if known is None:
                break
            found.append(known)
        return found

    def add(self, parent: PrefixBlock | None, tokens: Sequence[int], block: int) -> PrefixBlock:
        """Make a computed block known. If the same tokens lie in another block already, that one stays the known one.

        Returns:
            the entry, which is the parent of the tokens that follow.
        """
        entry = PrefixBlock(parent, tuple(tokens), block)
        known = self._by_tokens.setdefault((parent, entry.tokens), entry)
        if known is entry:
            assert block not in self._by_block, f"block {block} holds another prefix"
            self._by_block[block] = entry
        return known

    def remove(self, block: int) -> None:
        """Forget what lies in this block. Blocks known as its children are no longer found, until they are evicted."""
        entry = self._by_block.pop(block)
        del self._by_tokens[entry.parent, entry.tokens]
