"""The shipped adapters on today's transformers and llama.cpp: what holds, and the deviations that are known."""

from pathlib import Path

import pytest
from hypothesis import core
from hypothesis.errors import Flaky

from minillm.verification import adapters, findings
from minillm.verification.engine_file import load_engines
from minillm.verification.engine_process import EngineProcess
from minillm.verification.generation_properties import draw_options
from minillm.verification.in_process import InProcess
from minillm.verification.properties import PROPERTIES, run_property

HOLDS = [
    ("transformers_llama", "dynamic", "a_batch_is_its_sequences_one_by_one"),
    ("transformers_llama", "recording", "cached_decoding_is_naive_decoding"),
    ("transformers_llama", "static", "reordered_caches_are_those_that_were_chosen"),
    ("transformers_generate", "generate", "options_change_no_answer"),
    ("transformers_generate", "continuous", "options_change_no_answer"),
    ("transformers_generate", "continuous", "an_engine_can_be_used_again"),
    ("transformers_generate", "continuous", "plain_answers_are_greedy"),
    ("transformers_decoders", "mistral", "cached_decoding_is_naive_decoding"),
    ("transformers_llama", "full", "a_batch_is_its_sequences_one_by_one"),
    ("transformers_llama", "unrounded", "cached_decoding_is_naive_decoding"),
    ("transformers_sampling", "alone", "sampling_has_its_distribution"),
    ("llamacpp", "unified", "later_tokens_keep_their_positions"),
    ("llamacpp", "file", "a_restored_cache_is_the_saved_one"),
    ("llamacpp", "whole", "a_restored_cache_is_the_saved_one"),
    ("llamacpp", "flash", "a_batch_is_its_sequences_one_by_one"),
    ("llamacpp_decoders", "gemma2", "a_restored_cache_is_the_saved_one"),
    ("llamacpp_decoders", "mamba", "cached_decoding_is_naive_decoding"),
    ("llamacpp_decoders", "jamba_small_passes", "chunked_prefill_is_whole_prefill"),
    ("llamacpp_decoders", "lfm2", "a_batch_is_its_sequences_one_by_one"),
    ("llamacpp_sampling", "llamacpp_sampling", "sampling_has_its_distribution"),
    ("llamacpp", "streams", "a_restored_cache_is_the_saved_one"),
    ("llamacpp", "small_passes", "a_copied_prefix_is_its_tokens"),
]
DEVIATIONS = [  # docs/results/engines.md names them
    ("transformers_llama", "eager", "a_batch_is_its_sequences_one_by_one"),
    ("transformers_llama", "recording", "truncated_tokens_were_never_there"),
    ("transformers_generate", "drafts", "options_change_no_answer"),
    ("transformers_decoders", "moshi", "cached_decoding_is_naive_decoding"),
    ("transformers_llama", "fp8", "cached_decoding_is_naive_decoding"),
    ("transformers_llama", "unrounded", "forks_are_independent"),
    ("transformers_decoders", "mamba", "chunked_prefill_is_whole_prefill"),
    ("transformers_decoders", "jamba-generate", "options_change_no_answer"),
    ("transformers_decoders", "bloom", "a_batch_is_its_sequences_one_by_one"),
    ("transformers_sampling", "alone", "tied_tokens_are_kept_by_number"),
    ("llamacpp", "streams", "a_kept_cache_is_the_only_one"),
    ("llamacpp", "streams", "a_copy_is_complete_at_once"),
    ("llamacpp", "unified", "edits_in_a_row_add_up"),
]


@pytest.fixture
def engine(monkeypatch):
    """A function that loads one engine of an adapter."""
    monkeypatch.setattr(findings, "SHRINK_SECONDS", 0.0)
    opened = []

    def load(adapter, name, transport=InProcess):
        if adapter.startswith("llamacpp"):
            pytest.importorskip("llama_cpp")
        file = Path(adapters.__path__[0], f"{adapter}.py")
        [loaded] = [one for one in load_engines(file, transport(file)) if one.adapter.name == name]
        opened.append(loaded)
        return loaded

    yield load
    for loaded in opened:
        loaded.close()


@pytest.mark.parametrize(("adapter", "name", "holds"), HOLDS)
def test_what_holds(engine, adapter, name, holds):
    PROPERTIES[holds].search(engine(adapter, name).engines, examples=10)


@pytest.mark.parametrize(("adapter", "name", "holds"), DEVIATIONS)
def test_a_known_deviation_is_found(engine, adapter, name, holds):
    with pytest.raises((AssertionError, Flaky)):
        PROPERTIES[holds].search(engine(adapter, name).engines, examples=60)


def test_the_sizes_of_tiny_decoders_are_all_used():
    from minillm.verification.adapters.transformers_decoders import SIZES, tiny_config

    names = [name for keys in SIZES for name in keys.split()]
    assert len(set(names)) == len(names)
    assert tiny_config("deepseek_v3").qk_rope_head_dim == 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_drafts_beyond_the_end_of_a_static_cache_are_found_with_any_seed(engine, monkeypatch, seed):
    monkeypatch.setattr(core, "global_force_seed", seed)
    loaded = engine("transformers_generate", "drafts")
    with pytest.raises((AssertionError, Flaky)):
        PROPERTIES["options_change_no_answer"].search(loaded.engines)
    assert "IndexError: index" in loaded.findings.smallest.what


@pytest.mark.parametrize("name", ["generate", "drafts", "continuous"])
def test_a_search_draws_every_value_of_every_option(engine, name):
    loaded, drawn = engine("transformers_generate", name), []
    run_property(lambda one, data: drawn.append(draw_options(one, data)), loaded.engines)
    for option, values in loaded.adapter.options.items():
        assert all(value in [options[option] for options in drawn] for value in values), option


def test_a_crash_has_a_counterexample(engine):
    loaded = engine("llamacpp", "q8_0", EngineProcess)
    with pytest.raises((AssertionError, Flaky)):
        PROPERTIES["shifted_tokens_have_other_positions"].search(loaded.engines, examples=20)
    assert loaded.findings.smallest.verdict == "crashed"
