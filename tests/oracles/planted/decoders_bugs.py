"""Bugs to plant into the adapters of other decoders: the right text, the wrong text, the engine and the property.

These adapters have the functions of an adapter for Llamas. So most of its bugs are theirs, too. Not those of caches that
they do not have, nor those of weights: they are compared with themselves.
"""

from planted.llamacpp_bugs import BUGS as LLAMACPP
from planted.transformers_llama_bugs import BUGS as TRANSFORMERS

TRUNCATED = "truncated_tokens_were_never_there"
CUT = "self.check_kept(cache, length)\n        self.cut(cache, length, len(cache.positions))"  # of truncate
ELSEWHERE = (  # properties of weights, and of edits that have an exact meaning with one layer only
    "prefill_is_naive", "later_tokens_keep_their_positions", "shifted_tokens_have_other_positions",
)  # fmt: skip


def inherited(bugs, engines):
    """The bugs of an adapter, planted into other engines: the engine that stands for each of its own."""
    return {
        bug: (right, wrong, engines[engine], name)
        for bug, (right, wrong, engine, name) in bugs.items()
        if engine in engines and name not in ELSEWHERE
    }


TRANSFORMERS_DECODERS = inherited(TRANSFORMERS, {"dynamic": "gpt2", "static": "mistral", "full": "gpt_neox"})
LLAMACPP_DECODERS = inherited(
    LLAMACPP, {"unified": "gemma2_full", "streams": "gemma2_streams", "small_passes": "gemma2_small_passes"}
) | {
    "a fork of a recurrent state is empty": (*LLAMACPP["a fork is empty"][:2], "mamba", "forks_are_independent"),
    "a recurrent state without its end": (
        *LLAMACPP["a state without its end"][:2], "jamba", "a_restored_cache_is_the_saved_one"),
    "a recurrent state stays when it is released": (
        *LLAMACPP["stale rows"][:2], "lfm2", "released_caches_leave_nothing_behind"),
    "beams of a recurrent model in the inverse order": (
        *LLAMACPP["the inverse order"][:2], "mamba", "reordered_caches_are_those_that_were_chosen"),
    "a batch of a recurrent model goes to one sequence": (
        *LLAMACPP["all tokens go to sequence 0"][:2], "lfm2", "a_batch_is_its_sequences_one_by_one"),
    "all others of a recurrent model are kept": (
        *LLAMACPP["the others are kept"][:2], "jamba", "a_kept_cache_is_the_only_one"),
    "rows of a recurrent batch are swapped": (
        *LLAMACPP["rows of a batch are swapped"][:2], "mamba_small_passes", "a_batch_is_its_sequences_one_by_one"),
    "a fork in the memory of its original": (
        *LLAMACPP["a fork has the number of its original"][:2], "lfm2", "forks_are_independent"),
    "a truncation leaves the last token": (
        CUT, CUT.replace("positions))", "positions) - 1)"),
        "gemma2_full", TRUNCATED),
    "a truncation begins one too late": (
        CUT, CUT.replace("length, len", "length + 1, len"),
        "gemma2_full", TRUNCATED),
}  # fmt: skip
