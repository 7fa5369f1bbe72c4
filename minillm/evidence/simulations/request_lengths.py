"""Request lengths drawn at random, like those of the vLLM paper's two traces.

Kwon et al., vLLM, 2309.06180, section 6.1 publishes only the means: ShareGPT 161.31 tokens in and 337.99 out, Alpaca
19.31 and 58.45. Their spread is our choice, fitted to the first column of its Figure 2: lognormal, with the
coefficients of variation below. So simulations with these lengths can reproduce ranges and orderings, not digits.
"""

import math
from dataclasses import dataclass

import numpy as np

from minillm.arrays import Array, Int

LONGEST = 2048  # tokens of OPT's context, prompt and output together


@dataclass(frozen=True)
class Trace:
    """Distribution of the lengths of requests.

    Attributes:
        prompt_mean, output_mean: tokens.
        prompt_cv, output_cv: standard deviation over mean.
        longest_output: tokens; longer outputs are cut to this length.
    """

    prompt_mean: float
    output_mean: float
    prompt_cv: float
    output_cv: float
    longest_output: int = LONGEST - 1


SHAREGPT = Trace(161.31, 337.99, prompt_cv=1.2, output_cv=1.05, longest_output=1700)
SHAREGPT_SAMPLES = Trace(161.31, 337.99, prompt_cv=1.2, output_cv=0.95)
ALPACA_SAMPLES = Trace(19.31, 58.45, prompt_cv=0.6, output_cv=1.3)


def draw_lengths(trace: Trace, requests: int, seed: int) -> Int[Array, "requests 2"]:
    """Draw prompt and output tokens of `requests` requests, together at most `LONGEST` for each."""
    generator = np.random.default_rng(seed)
    outputs = _lognormal(generator, trace.output_mean, trace.output_cv, requests).clip(1, trace.longest_output)
    prompts = _lognormal(generator, trace.prompt_mean, trace.prompt_cv, requests)
    return np.stack([prompts.clip(1, LONGEST - outputs), outputs], axis=1)


def _lognormal(generator: np.random.Generator, mean: float, cv: float, count: int) -> Int[Array, "count"]:
    variance = math.log(1 + cv**2)
    return generator.lognormal(math.log(mean) - variance / 2, math.sqrt(variance), count).round().astype(int)
