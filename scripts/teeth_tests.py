"""Which files have teeth to test, which tests should notice a bug in them, and which mutants are no bugs.

`STAGES` lists the tests of each file, the nearest first: a later stage runs only if nothing failed before.
"""

from pathlib import Path

CORE = (
    "config.py", "model.py", "reference.py", "attention.py", "layers.py", "ragged_batch.py", "batch_checks.py",
    "transformer.py", "prefill.py", "decode.py", "sampling.py", "completion.py", "generation.py", "score.py",
    "streaming.py", "conversation.py", "kv_cache/*.py", "speculative/*.py", "batching/*.py", "quantization/*.py",
    "backends/plain.py", "backends/fast.py", "backends/exact.py", "backends/exact_functions.py",
    "text/text_stream.py", "estimate/*.py",
)  # fmt: skip

NUMBERS = ("tests/backends/test_exact_functions.py", "tests/backends/test_exact_accuracy.py",
           "tests/backends/test_exact_order.py", "tests/backends/test_exact_bounds.py", "tests/backends/test_fast.py",
           "tests/backends/test_one_hash.py")  # fmt: skip
STAGES = {  # the longest of these that a path begins with counts
    "config": ("tests/test_layers.py", "tests/loading/test_config.py", "tests/test_reference.py"),
    "model": ("tests/test_model.py", "tests/test_checks.py", "tests/test_wrong_types.py", "tests/test_generation.py"),
    "batch_checks": ("tests/test_checks.py", "tests/test_wrong_types.py", "tests/test_generation.py"),
    "score": ("tests/test_score.py", "tests/test_checks.py"),
    "streaming": ("tests/test_streaming.py", "tests/test_checks.py"),
    "conversation": ("tests/test_conversation.py", "tests/test_sessions.py"),
    "reference": ("tests/test_reference.py", "tests/properties/test_equivalence.py"),
    "attention": ("tests/test_attention.py", "tests/backends/test_fast.py", "tests/backends/test_exact_accuracy.py"),
    "layers": ("tests/test_layers.py", "tests/test_reference.py"),
    "ragged_batch": ("tests/test_checks.py", "tests/test_reference.py", "tests/properties/test_equivalence.py"),
    "transformer": ("tests/test_reference.py", "tests/test_model.py", "tests/test_checks.py"),
    "prefill": ("tests/test_reference.py", "tests/test_checks.py", "tests/test_generation.py"),
    "decode": ("tests/test_reference.py", "tests/test_generation.py", "tests/test_checks.py"),
    "sampling": ("tests/test_sampling.py", "tests/test_checks.py", "tests/test_generation.py"),
    "completion": ("tests/test_completion.py", "tests/test_generation.py", "tests/batching/test_engine.py"),
    "generation": ("tests/test_generation.py", "tests/test_completion.py", "tests/test_checks.py"),
    "kv_cache": ("tests/kv_cache", "tests/test_checks.py"),
    "kv_cache/int8": ("tests/kv_cache/test_int8.py", "tests/kv_cache"),
    "kv_cache/neighbours": ("tests/kv_cache/test_neighbours.py", "tests/kv_cache"),
    "speculative": ("tests/speculative/test_draft_length.py", "tests/speculative/test_drafters.py",
                    "tests/speculative/test_acceptance.py", "tests/speculative/test_greedy.py", "tests/speculative"),
    "batching": ("tests/batching/test_next_turns.py", "tests/batching/test_engine.py",
                 "tests/batching/test_engine_events.py", "tests/batching/test_engine_schedules.py", "tests/batching"),
    "batching/static_batching": ("tests/batching/test_static_batching.py",),
    "batching/virtual_engine": ("tests/batching/test_static_batching.py",
                                "tests/estimate/test_measured_equals_predicted.py", "tests/estimate", "tests/batching"),
    "quantization": ("tests/quantization", "tests/loading/test_stored_formats.py"),
    "backends": ("tests/backends/test_fast.py", *NUMBERS, "tests/test_reference.py", "tests/quantization"),
    "backends/exact": NUMBERS,
    "text/text_stream": ("tests/text/test_text_stream.py", "tests/test_completion.py"),
    "estimate": ("tests/estimate", "tests/cli/test_estimate_command.py", "tests/cli/test_estimate_figures.py"),
    "estimate/sharding": ("tests/estimate/test_shares.py", "tests/test_pipeline_threads.py",
                          "tests/test_shares_of_ranks.py", "tests/estimate"),
}  # fmt: skip
WIDER = (
    "tests/test_checks.py", "tests/test_examples.py", "tests/test_api.py", "tests/test_generation.py",
    "tests/test_completion.py", "tests/test_conversation.py", "tests/test_score.py", "tests/test_events.py",
    "tests/test_shapes.py", "tests/test_wrong_types.py", "tests/test_model.py", "tests/test_streaming.py",
    "tests/properties", "tests/kv_cache", "tests/backends", "tests/quantization", "tests/batching", "tests/speculative",
    "tests/estimate", "tests/serving", "tests/text/test_text_stream.py", "tests/cli/test_generate_command.py",
    "tests/cli/test_batch_command.py", "tests/cli/test_samples.py", "tests/cli/test_kv_cache_option.py",
    "tests/trace/test_golden.py", "tests/training",
)  # fmt: skip
SLOW = {  # marked slow: last; of files whose path begins like this
    "estimate": ("tests/estimate/test_virtual_clock.py", "tests/estimate/test_speculative_rounds.py"),
}

# Mutants that no test has to catch, by path, line before and line after: each was read, and computes the same.
SAME: dict[tuple[str, str, str], str] = {
    (
        "minillm/quantization/__init__.py",
        "rows = together * max(1, (most_bytes or TILE_BYTES) // (4 * max(1, inner * together)))",
        "rows = together * max(1, (most_bytes or TILE_BYTES) // (4 * max(2, inner * together)))",
    ): "The tiles of a matrix with one column have half of the rows that they could have. They hold the same numbers.",
}


def core_files(root: Path) -> list[str]:
    """Return the paths of the core files, from the root of the tree."""
    found = {path for pattern in CORE for path in (root / "minillm").glob(pattern)}
    return sorted(path.relative_to(root).as_posix() for path in found)


def stages(path: str) -> list[list[str]]:
    """Return what pytest runs for a core file: the nearest tests, then the wider ones, then slow ones."""
    name = path.removeprefix("minillm/").removesuffix(".py")
    nearest = max((each for each in STAGES if name.startswith(each)), key=len)
    slow = [["-m", "slow", *tests] for begin, tests in SLOW.items() if name.startswith(begin)]
    return [list(STAGES[nearest]), list(WIDER), *slow]
