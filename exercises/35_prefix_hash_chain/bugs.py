"""Wrong answers to `prefix_hash_chain`."""

import zlib


def _block_hash(parent, tokens):
    return zlib.crc32(repr((parent, list(tokens))).encode())


def _blocks(tokens, size):
    return [tokens[first : first + size] for first in range(0, len(tokens) - size + 1, size)]


def _chain(blocks):
    hashes = []
    for block in blocks:
        hashes.append(_block_hash(hashes[-1] if hashes else 0, block))
    return hashes


def own_tokens_only(tokens, block_size):
    """Each block was hashed alone. So a block is found although other tokens precede it. Hash its parent, too."""
    return [_block_hash(0, block) for block in _blocks(tokens, block_size)]


def position_as_parent(tokens, block_size):
    """The number of the block was hashed in place of its parent. Blocks after different prefixes have equal hashes."""
    return [_block_hash(number, block) for number, block in enumerate(_blocks(tokens, block_size))]


def first_block_as_parent(tokens, block_size):
    """Every block has the hash of the first one as its parent: use the block directly before it."""
    hashes = []
    for block in _blocks(tokens, block_size):
        hashes.append(_block_hash(hashes[0] if hashes else 0, block))
    return hashes


def all_tokens_so_far(tokens, block_size):
    """All tokens so far were hashed each time. The parent's hash contains them: hash it and the block's own tokens."""
    return [_block_hash(0, tokens[:end]) for end in range(block_size, len(tokens) + 1, block_size)]


def part_of_a_block(tokens, block_size):
    """The last block is not full, and has a hash all the same. More tokens will come into it: leave it out."""
    return _chain([tokens[first : first + block_size] for first in range(0, len(tokens), block_size)])


def last_full_block_missing(tokens, block_size):
    """The last full block has no hash: a block that ends where the sequence ends is full, too."""
    return _chain(_blocks(tokens[:-1], block_size))


def windows(tokens, block_size):
    """A block begins at every token: the next one begins block_size tokens later."""
    return _chain([tokens[first : first + block_size] for first in range(len(tokens) - block_size + 1)])


def order_lost(tokens, block_size):
    """The tokens of a block were sorted. Their order matters: hash them as they are."""
    return _chain([sorted(block) for block in _blocks(tokens, block_size)])


def from_the_end(tokens, block_size):
    """The chain begins at the last block. So another last token changes all hashes. Begin at the first block."""
    return _chain(_blocks(tokens, block_size)[::-1])[::-1]
