"""How many blocks parallel sampling saves: Figure 15 of the vLLM paper, counted.

Samples of one prompt share its full blocks. Each has its own copy of the block in which the prompt ends, and its own
blocks after that (Kwon et al., vLLM, 2309.06180, section 4.4). Without sharing, each sample would hold the whole
prompt. The saving is roughly f * (n - 1) / n for n samples, where f is the prompt's fraction of a sequence's tokens.
"""

import numpy as np

from minillm.arrays import Array, Int


def share_saved(lengths: Int[Array, "requests 2"], samples: int, block_size: int) -> float:
    """Return blocks saved over blocks needed without sharing, both summed over all steps.

    Args:
        lengths: prompt and output tokens of each request; all its samples become equally long.
        samples: number of samples for each prompt.
        block_size: tokens in a block.
    """
    used = alone = 0
    for prompt, output in lengths:
        blocks = -(-np.arange(prompt + 1, prompt + output + 1) // block_size)  # [steps], of one sample
        shared = prompt // block_size
        used += int((shared + samples * (blocks - shared)).sum())
        alone += samples * int(blocks.sum())
    return 1 - used / alone
