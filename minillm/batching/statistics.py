"""Statistics: what an engine has done so far, in counts that are the same on every machine."""

from dataclasses import dataclass


@dataclass
class Statistics:
    """Counts since the engine was made.

    Attributes:
        steps: forward passes.
        prefill_tokens: tokens run through the model in chunks of a prompt, or of a sequence that is recomputed.
        decode_tokens: tokens run through the model one at a time.
        draft_tokens: guesses run through the model to be verified.
        accepted_tokens: guesses that became tokens.
        prefix_tokens: tokens that did not have to run since their blocks were found in the pool or forked.
        preemptions: how often a request had to give its blocks up.
        swapped_tokens: of how many tokens keys and values were copied out of the pool.
        finished: requests that ended by themselves.
        cancelled: requests that were cancelled.
        used_blocks: blocks in somebody's table during a step, summed over all steps.
        peak_used_blocks: the most of them in one step.
        peak_table_blocks: the most entries of all tables in one step: as many blocks, if none were shared.
        filled_slots: tokens that lay in those blocks, summed over all steps; shared ones count once.
    """

    steps: int = 0
    prefill_tokens: int = 0
    decode_tokens: int = 0
    draft_tokens: int = 0
    accepted_tokens: int = 0
    prefix_tokens: int = 0
    preemptions: int = 0
    swapped_tokens: int = 0
    finished: int = 0
    cancelled: int = 0
    used_blocks: int = 0
    peak_used_blocks: int = 0
    peak_table_blocks: int = 0
    filled_slots: int = 0
