"""Speculative decoding: several tokens from one pass. Read `rounds`, then `drafters`, `draft_length`, `speculator`."""

from minillm.speculative.drafters import Draft, Drafter, PromptLookup, skip_layers
from minillm.speculative.generation import SpeculativeGeneration, SpeculativeOutput, speculative_generate, stream
from minillm.speculative.rounds import ACCEPTED, BONUS, CORRECTED, Speculation
from minillm.speculative.speculator import DrafterChoice, Speculator

__all__ = [
    "ACCEPTED",
    "BONUS",
    "CORRECTED",
    "Draft",
    "Drafter",
    "DrafterChoice",
    "PromptLookup",
    "Speculation",
    "SpeculativeGeneration",
    "SpeculativeOutput",
    "Speculator",
    "skip_layers",
    "speculative_generate",
    "stream",
]
