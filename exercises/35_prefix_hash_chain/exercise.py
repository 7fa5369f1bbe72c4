"""The hash chain of a prefix cache: which blocks of a prompt are known already.

Where the engine does it: `PrefixTable` in minillm/kv_cache/prefix.py. The keys and values of a block depend on all
tokens before it. So its hash depends on its own tokens and on the hash of the block before it. A lookup of one hash
then compares the whole prefix (Kwon et al., 2309.06180). Article: Optimization Strategies, 4.
"""

# %% learner
import zlib


def block_hash(parent: int, tokens: list[int]) -> int:
    """Return the hash of a block from that of the block before it and its own tokens. This function is given."""
    return zlib.crc32(repr((parent, list(tokens))).encode())


def prefix_hash_chain(tokens: list[int], block_size: int) -> list[int]:
    """Return the hash of each full block of a sequence.

    tokens: the token ids of the sequence.
    block_size: tokens per block.
    returns: one hash for each full block, in order: block_hash(hash of the block before, tokens of the block). The
        first block has the parent 0. A last block that is not full has no hash, because its tokens will still change.
    """
    # %% solution
    hashes: list[int] = []
    for first in range(0, len(tokens) - block_size + 1, block_size):
        parent = hashes[-1] if hashes else 0
        hashes.append(block_hash(parent, tokens[first : first + block_size]))
    return hashes


# %% hints
HINTS = (
    "Each hash contains the one before it. So two sequences have equal hashes as long as all their tokens are equal. "
    "After the first different block no hash is equal any more.",
    "A list of ids in; a list of len(tokens) // block_size integers out.",
    "1. Go through the tokens in steps of block_size. 2. Leave out a last block that is not full. 3. The parent is the "
    "last hash so far, or 0. 4. Append block_hash(parent, tokens of this block).",
    "for first in range(0, len(tokens) - block_size + 1, block_size):",
)


# %% check
LESSON = 16
CONCEPTS = ("prefix_caching", "kv_cache")


def cases(random):
    for tokens, block_size in (
        ([], 2), ([5], 2), ([5], 1), ([5, 6], 2), ([5, 6, 7], 2), ([5, 6, 5, 6], 2), ([6, 5, 7, 8], 2),
        ([5, 6, 7, 8, 9, 1], 2), ([3, 1, 2, 6, 5, 4, 9, 8, 7, 1], 3), ([1, 2, 3], 1),
    ):  # fmt: skip
        yield {"tokens": tokens, "block_size": block_size}
    for count, block_size in ((7, 2), (9, 4), (16, 4)):
        yield {"tokens": random.integers(0, 50, count).tolist(), "block_size": block_size}


def one_hash_for_each_full_block(inputs, result, run):
    """There are as many hashes as full blocks."""
    return len(result) == len(inputs["tokens"]) // inputs["block_size"]


def more_tokens_keep_the_hashes(inputs, result, run):
    """With more tokens at its end, a sequence keeps its hashes."""
    return run(tokens=[*inputs["tokens"], 7, 8])[: len(result)] == result


def the_first_token_changes_all(inputs, result, run):
    """Another first token changes every hash."""
    changed = [token + (n == 0) for n, token in enumerate(inputs["tokens"])]
    return not set(run(tokens=changed)) & set(result)


PROPERTIES = (one_hash_for_each_full_block, more_tokens_keep_the_hashes, the_first_token_changes_all)
