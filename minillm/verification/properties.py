"""The table of all properties: what each one needs of an engine, and how a counterexample is searched.

A search is the same on every run. `pytest --hypothesis-seed 1` draws other examples.

It has rounds, each with a seed of its own: after its first ten examples, Hypothesis replaces parts of each one by other
parts of it, several times. In a search of 60, two thirds would be such copies.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, core, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from hypothesis.stateful import run_state_machine_as_test

from minillm.verification import cache_properties as cache
from minillm.verification import generation_properties as generation
from minillm.verification import sampling_properties as sampling
from minillm.verification.cache_schedules import CacheSchedules
from minillm.verification.engine_protocol import Engine
from minillm.verification.refusals import Patience

Holds = Callable[[Engine, st.DataObject], None]
EXAMPLES, SAMPLING_EXAMPLES, SCHEDULES = 60, 300, 60  # an example of sampling has one call, and needs no reference
ROUND = 10  # examples
PHASES = (Phase.generate, Phase.shrink)


def run_property(holds: Holds, engines: st.SearchStrategy[Engine], examples: int = EXAMPLES) -> None:
    """Search for a counterexample, and raise the AssertionError of the smallest one."""

    patience = Patience()

    def look(data: st.DataObject) -> None:
        with patience.example():
            holds(data.draw(engines), data)

    def run_round(number: int, count: int) -> None:
        seed(number)(_settings(count)(given(data=st.data())(look)))()

    run_rounds(run_round, examples, patience)


def run_schedules(drawn: st.SearchStrategy[Engine], examples: int = SCHEDULES) -> None:
    """Search for a counterexample among all sequences of calls."""

    class Schedules(CacheSchedules):
        engines, patience = drawn, Patience()

    def run_round(number: int, count: int) -> None:
        run_state_machine_as_test(seed(number)(Schedules), settings=_settings(count, stateful_step_count=12))

    run_rounds(run_round, examples, Schedules.patience)


def run_rounds(run_round: Callable[[int, int], None], examples: int, patience: Patience) -> None:
    """Run the rounds of a search. A round without any possible example ends it only if there was none before."""
    first_seed = 1000 * (core.global_force_seed or 0)  # of `pytest --hypothesis-seed`
    for number, begin in enumerate(range(0, examples, ROUND)):
        try:
            run_round(first_seed + number, min(ROUND, examples - begin))
        except Unsatisfiable:
            if not patience.tried:
                raise


def _settings(examples: int, **more: Any) -> Any:  # beartype cannot name `settings`
    return settings(
        max_examples=examples, database=None, deadline=None, print_blob=False,
        report_multiple_bugs=False, suppress_health_check=list(HealthCheck),
        phases=PHASES, **more,
    )  # fmt: skip


class Property(NamedTuple):
    """One property of engines.

    Attributes:
        sentence: what must hold.
        needs: the operations that an engine must have. The property is not tested on engines without them.
        search: looks for a counterexample among the engines of a strategy, and raises its AssertionError. Its option
            `examples` is how many it tries.
    """

    sentence: str
    needs: tuple[str, ...]
    search: Callable[..., None]


CACHE = ("new_cache", "prefill")
NEEDS: dict[Holds, tuple[str, ...]] = {
    cache.prefill_is_naive: CACHE,
    cache.cached_decoding_is_naive_decoding: (*CACHE, "decode"),
    cache.chunked_prefill_is_whole_prefill: CACHE,
    cache.truncated_tokens_were_never_there: (*CACHE, "truncate"),
    cache.forks_are_independent: (*CACHE, "fork"),
    cache.a_copy_is_complete_at_once: (*CACHE, "fork"),
    cache.a_batch_is_its_sequences_one_by_one: (*CACHE, "batch"),
    cache.a_copied_prefix_is_its_tokens: (*CACHE, "copy_prefix"),
    cache.removed_last_tokens_were_never_there: (*CACHE, "remove"),
    cache.shifts_that_cancel_change_nothing: (*CACHE, "shift"),
    cache.later_tokens_keep_their_positions: (*CACHE, "remove", "edited"),
    cache.shifted_tokens_have_other_positions: (*CACHE, "shift", "edited"),
    cache.a_cache_without_its_beginning_moves_forward: (*CACHE, "remove", "shift", "edited"),
    cache.edits_in_a_row_add_up: (*CACHE, "shift", "edited"),
    cache.a_kept_cache_is_the_only_one: (*CACHE, "keep"),
    cache.reordered_caches_are_those_that_were_chosen: (*CACHE, "reorder"),
    cache.a_restored_cache_is_the_saved_one: (*CACHE, "save", "restore"),
    cache.released_caches_leave_nothing_behind: (*CACHE, "release"),
    generation.plain_answers_are_greedy: ("naive", "generate"),
    generation.an_answer_goes_on_from_its_own_tokens: ("generate",),
    generation.options_change_no_answer: ("generate",),
    generation.an_engine_can_be_used_again: ("generate",),
    generation.a_stream_is_the_answer: ("stream",),
    sampling.sampling_has_its_distribution: ("sample",),
    sampling.tied_tokens_are_kept_by_number: ("sample",),
}

PROPERTIES: dict[str, Property] = {
    holds.__name__: Property(
        (holds.__doc__ or "").strip(),
        needs,
        partial(run_property, holds, examples=SAMPLING_EXAMPLES if "sample" in needs else EXAMPLES),
    )
    for holds, needs in NEEDS.items()
}
PROPERTIES["any_schedule"] = Property(
    "Any sequence of operations must leave the expected tokens in each cache.", CACHE, run_schedules
)
