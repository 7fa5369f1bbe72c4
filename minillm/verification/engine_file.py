"""A file with an engine: what `pytest --minillm-engine my_engine.py` requires of it.

The file defines `make_engine(config, weights)`. It returns an object with the functions below. `config` is a
minillm.config.ModelConfig. `weights` are float64 arrays `[out, in]` under their Hugging Face names. The models are
random tiny Llamas. All logits are compared with reference.py.

    new_cache()              return an empty cache
    prefill(tokens, cache)   append tokens, return the logits [vocab] after the last one
    decode(token, cache)     append one token, return the logits [vocab] after it
    batch([(tokens, cache), ...])    append to each cache, return the logits [sequences, vocab] after each last token
    truncate(cache, length)  drop all tokens from index `length` on
    fork(cache)              return an independent cache with the same tokens
    copy_prefix(cache, length)       return a new cache with the first `length` tokens
    remove(cache, begin, end)        drop tokens [begin, end); the positions of the later tokens stay
    shift(cache, begin, by)  add `by` to the positions of the tokens from index `begin` on
    keep(cache)              empty all caches except this one
    reorder(caches, order)   return caches; the i-th is what caches[order[i]] was (beam search)
    save(cache)              return a state
    restore(state)           return a new cache with the tokens of the state
    release(cache)           the cache is not used again; its memory may be reused
    generate(prompts, options)       return [(tokens, log probabilities or None, finish), ...]
    stream(prompt, options)  yield the tokens of generate one by one, or in pieces
    sample(logits, options, draw)    return a token; draw(weights) returns a random index

Only new_cache and prefill are required, or one of generate, stream and sample. The properties that need a missing
function are not tested. Each cache is released after its example, if there is a release.

Instead of make_engine, the file itself can define the functions, with its own weights. Then it also defines one of:

- VOCAB_SIZE: the engine is compared with itself, with one prefill into a new cache;
- MODEL, a text, a name for `minillm.load`: the engine is compared with reference.py on this model.

A file with several engines defines `engines()`, which yields (name, engine). Each engine has make_engine, or the
functions and VOCAB_SIZE, as attributes.

Settings, all optional:

    DTYPE = "float16"        what the engine computes in: float64, float32, float16 or bfloat16. Rounding to it explains
                             some differences of logits; see comparison.py
    TOLERANCE = 1e-4         of logits, relative to the largest one; by default from DTYPE, or 1e-4
    REFERENCE = "self"       compare an engine of make_engine with itself, too: for 16 and 8 bits, whose logits differ
                             from the reference's by more than schedules may
    OPTIONS = {"cache": ["dynamic", "static"], ...}  values of the options of generate; the first is the plainest
    WINDOW, PAGE = 4, 16     sizes around which lengths are drawn
    FEATURES = ("window",)   the architectures beyond plain Llamas that make_engine understands
    CALL_SECONDS = 60        an engine that takes longer for one call hangs

A function that cannot do what is asked raises `minillm.verification.Unsupported`, or another NotImplementedError. Such
a call is refused, and counted. It must leave all caches as they were: `any_schedule` goes on without the call. The
other properties leave the example out. Every other exception is a failure.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hypothesis import reject
from hypothesis import strategies as st

from minillm.config import ModelConfig
from minillm.verification.adapter import Adapter, read_adapter
from minillm.verification.engine_protocol import Engine
from minillm.verification.engine_under_test import Transport
from minillm.verification.findings import Findings
from minillm.verification.in_process import InProcess
from minillm.verification.models import CONFIGS, configs
from minillm.verification.one_example import Example, example_of


class LoadedEngine(NamedTuple):
    """One engine of a file.

    Attributes:
        engines: a strategy for this engine in a new example, with one of several models if it is made.
        has: returns whether it has a function.
        findings: the results of the search that runs.
        close: ends the engine's side.
        adapter: what the file says of it.
        transport: reaches the engine.
        example: returns the engine in a new example, with a model.
    """

    engines: st.SearchStrategy[Engine]
    has: Callable[[str], bool]
    findings: Findings
    close: Callable[[], None]
    adapter: Adapter
    transport: Transport
    example: Example


def load_engine(file: Path) -> LoadedEngine:
    """Load the first engine of a file in this process.

    Raises:
        ValueError: if the file does not load, or a required function is missing.
    """
    return load_engines(file, InProcess(file))[0]


def load_engines(file: Path, transport: Transport) -> list[LoadedEngine]:
    """Return the engines of a file that this transport reaches. `close` of each one closes the transport.

    Raises:
        ValueError: if a required function is missing, or a setting is wrong.
    """
    try:
        return [_loaded(read_adapter(described, file), transport) for described in transport.described]
    except BaseException:
        transport.close()
        raise


def _loaded(adapter: Adapter, transport: Transport) -> LoadedEngine:
    findings = Findings(adapter.tolerance)
    example = example_of(adapter, transport)

    def drawn(config: ModelConfig | None) -> Engine:
        if findings.time_is_up():
            reject()  # ends shrinking: no more examples are tried
        return example(config, findings)

    engines = _models(adapter).map(drawn)
    return LoadedEngine(engines, adapter.has, findings, transport.close, adapter, transport, example)


def _models(adapter: Adapter) -> st.SearchStrategy[ModelConfig | None]:
    """Return a strategy for the models of an engine. Plain Llamas and each feature are drawn equally often."""
    if not adapter.made:
        return st.none()
    sizes = [size for size in (adapter.page, adapter.window) if size]
    features = [configs([feature], sizes)[len(CONFIGS) :] for feature in adapter.features]
    return st.one_of([st.sampled_from(group) for group in (configs((), sizes), *features)])
