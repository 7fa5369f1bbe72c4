"""Statistics: counts of what an engine has done, a sum over its events. They are the same on every machine."""

from dataclasses import dataclass

from minillm.events import Admitted, DraftVerified, Event, Finished, Preempted, StepEnded


@dataclass
class Statistics:
    """Counts since the engine was made.

    Attributes:
        steps: forward passes.
        prefill_tokens: tokens that ran in chunks of a prompt, or of a sequence that is recomputed.
        decode_tokens: tokens that ran one at a time.
        draft_tokens: draft tokens that ran to be verified.
        accepted_tokens: draft tokens that were accepted.
        prefix_tokens: tokens that did not run, because their blocks were found in the pool or forked.
        preemptions: number of times that a running request lost its blocks.
        swapped_tokens: tokens whose keys and values were copied out of the pool.
        finished: requests whose answer is complete.
        cancelled: requests that were cancelled.
        used_blocks: blocks in at least one table, summed over all steps.
        peak_used_blocks: the most of them in one step.
        peak_table_blocks: the most entries of all tables in one step: the blocks it would take without sharing.
        filled_slots: tokens in those blocks, summed over all steps; shared ones count once.
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

    def count(self, event: Event) -> None:
        """Add an event of the engine."""
        match event:
            case StepEnded():
                self._count_step(event)
            case DraftVerified():
                self.accepted_tokens += event.accepted
            case Admitted():
                self.prefix_tokens += event.known_tokens
            case Preempted():
                self.preemptions += 1
                self.swapped_tokens += event.swapped_tokens
            case Finished(reason="cancelled"):
                self.cancelled += 1
            case Finished():
                self.finished += 1

    def _count_step(self, step: StepEnded) -> None:
        self.steps += 1
        self.prefill_tokens += step.prefill_tokens
        self.decode_tokens += step.decode_tokens
        self.draft_tokens += step.draft_tokens
        self.used_blocks += step.used_blocks
        self.peak_used_blocks = max(self.peak_used_blocks, step.used_blocks)
        self.peak_table_blocks = max(self.peak_table_blocks, step.table_blocks)
        self.filled_slots += step.filled_slots
