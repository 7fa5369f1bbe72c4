"""How many blocks parallel sampling saves: Figure 15 of the vLLM paper, counted.

Samples of one prompt share its full blocks; each has its own copy of the block that the prompt ends in, and blocks of
its own behind it (Kwon et al., vLLM, 2309.06180, section 4.4). Without sharing, each would hold the whole prompt.
Roughly f * (n - 1) / n for n samples, if the prompt is the share f of a sequence's tokens.
"""

import numpy as np

from minillm.arrays import Array, Int


def share_saved(lengths: Int[Array, "requests 2"], samples: int, block_size: int) -> float:
    """Blocks saved over blocks needed without sharing, both summed over all steps.

    Args:
        lengths: prompt and output tokens of each request, all of whose samples become as long.
        samples: how many for each prompt.
        block_size: tokens in a block.
    """
    held = alone = 0
    for prompt, output in lengths:
        blocks = -(-np.arange(prompt + 1, prompt + output + 1) // block_size)  # [steps], of one sample
        shared = prompt // block_size
        held += int((shared + samples * (blocks - shared)).sum())
        alone += samples * int(blocks.sum())
    return 1 - held / alone
