"""A learner's engine in one file: what `pytest --minillm-engine my_engine.py` requires of it.

The file defines `make_engine(config, weights)`. It returns an object with the functions below. `config` is a
minillm.config.ModelConfig. `weights` are float64 arrays `[out, in]` under their Hugging Face names. The models are
random tiny Llamas. All logits are compared with reference.py.

    new_cache()              return an empty cache
    prefill(tokens, cache)   append tokens, return the logits [vocab] after the last one
    decode(token, cache)     append one token, return the logits [vocab] after it
    truncate(cache, length)  drop all tokens from index `length` on
    fork(cache)              return an independent cache with the same tokens
    batch([(tokens, cache), ...])    append to each cache, return the logits [sequences, vocab] after each last token

Only new_cache and prefill are required. The properties that need a missing function are skipped.

Instead of make_engine, the file itself can define the functions, with its own weights. Then it also defines one of:

- VOCAB_SIZE: the engine is compared with itself, with one prefill into a new cache;
- MODEL, a text, a name for `minillm.load`: the engine is compared with reference.py on this model.

TOLERANCE (default 1e-4) is relative to the largest logit. With REFERENCE = "self", an engine of make_engine is compared
with itself, too: for 16 and 8 bits, whose logits differ from the reference's by more than schedules may.

A function that cannot do what is asked raises NotImplementedError. Such a call is refused: it is counted, and the rest
of its example is left out. Every other exception is a failure.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from minillm import reference
from minillm.arrays import Array
from minillm.classroom.worker.user_module import user_module
from minillm.config import ModelConfig, RopeParameters
from minillm.support.printable import one_line
from minillm.verification.cache_properties import Engine
from minillm.verification.engine_under_test import EngineUnderTest
from minillm.verification.findings import Findings

TOLERANCE = 1e-4


class LoadedEngine(NamedTuple):
    """The contents of a learner's file.

    Attributes:
        engines: a strategy for its engines.
        has: returns whether they have a function.
        findings: the results of the search that runs.
        close: removes the file from the modules of this process, and its folder from the import path.
    """

    engines: st.SearchStrategy[Engine]
    has: Callable[[str], bool]
    findings: Findings
    close: Callable[[], None]


def load_engine(file: Path) -> LoadedEngine:
    """Load a file that defines an engine. It is a module, which may import its neighbours, until it is closed.

    Raises:
        ValueError: if the file does not load, or a required function is missing.
    """
    with ExitStack() as stack:
        loaded = _loaded(file, stack)
        return loaded._replace(close=stack.pop_all().close)


def _loaded(file: Path, stack: ExitStack) -> LoadedEngine:
    try:
        where = file.absolute()
        found = stack.enter_context(user_module(file.read_bytes(), file.stem, str(where), str(where.parent)))
        findings = Findings(float(getattr(found, "TOLERANCE", TOLERANCE)))
        made = hasattr(found, "make_engine")
        example = found.make_engine(CONFIGS[0], dict(random_weights(CONFIGS[0]))) if made else found
    except (Exception, SystemExit) as problem:  # SystemExit with code 0 would look like a pass
        raise ValueError(f"{file} does not load: {one_line(f'{type(problem).__name__}: {problem}')}") from problem
    if (compared := getattr(found, "REFERENCE", None)) not in (None, "self"):
        raise ValueError(f"{file}: REFERENCE is {one_line(repr(compared))}; expected 'self', or no REFERENCE")
    engines = _made(found, findings) if made else _own(found, file, findings)
    for name in ("new_cache", "prefill"):
        if not callable(getattr(example, name, None)):
            raise ValueError(f"{file}: {name} is missing; expected new_cache and prefill, or make_engine")
    return LoadedEngine(engines, lambda name: callable(getattr(example, name, None)), findings, stack.close)


def _made(found: Any, findings: Findings) -> st.SearchStrategy[Engine]:
    """Return a strategy that makes a new engine for every example, with one of several random models."""
    to_itself = getattr(found, "REFERENCE", None) == "self"

    def engine(config: ModelConfig) -> EngineUnderTest:
        title = (
            f"a model with num_hidden_layers={config.num_hidden_layers}, heads={config.num_attention_heads}, "
            f"kv_heads={config.num_key_value_heads}, head_dim={config.head_dim}, vocab_size={config.vocab_size}:"
        )
        expected = None if to_itself else lambda tokens: _known(config, tuple(tokens))
        make = partial(found.make_engine, config, dict(random_weights(config)))
        return EngineUnderTest(make, config.vocab_size, expected, title, findings)

    return st.sampled_from(CONFIGS).map(engine)


@cache
def _known(config: ModelConfig, tokens: tuple[int, ...]) -> Array:
    """Return the reference's logits. They are cached, because shrinking repeats the same examples."""
    return reference.forward(config, random_weights(config), tokens)[-1]


def _own(found: Any, file: Path, findings: Findings) -> st.SearchStrategy[Engine]:
    """Return a strategy for a file that is itself the engine."""
    size = getattr(found, "VOCAB_SIZE", None)
    if type(size) is int and size >= 1:
        return st.builds(lambda: EngineUnderTest(lambda: found, size, None, "compared with itself:", findings))
    if not isinstance(getattr(found, "MODEL", None), str):  # an adapter may call its own model so
        raise ValueError(f"{file}: expected make_engine(config, weights), or the functions and a VOCAB_SIZE")
    from minillm.loading import open_checkpoint
    from minillm.loading.build import weights_by_name

    checkpoint = open_checkpoint(found.MODEL)
    config, weights = checkpoint.config, weights_by_name(checkpoint)

    def expected(tokens: Sequence[int]) -> Array:
        return reference.forward(config, weights, tokens)[-1]

    return st.builds(lambda: EngineUnderTest(lambda: found, config.vocab_size, expected, f"{found.MODEL}:", findings))


def plain_config(layers: int, kv_heads: int, group: int, head_dim: int, vocab_size: int, tied: bool) -> ModelConfig:
    """Return the config of a plain Llama."""
    return ModelConfig(
        model_type="llama", vocab_size=vocab_size, hidden_size=12, intermediate_size=10, num_hidden_layers=layers,
        num_attention_heads=kv_heads * group, num_key_value_heads=kv_heads, head_dim=head_dim,
        max_position_embeddings=256, rms_norm_eps=1e-5, tie_word_embeddings=tied, rope=RopeParameters(10_000.0),
        attention_bias=False, attention_output_bias=False, mlp_bias=False, qk_norm=False,
        sliding_windows=(None,) * layers, bos_token_id=None, eos_token_ids=(0,),
    )  # fmt: skip


CONFIGS = [plain_config(*numbers) for numbers in (
    (1, 1, 1, 4, 11, True), (1, 1, 2, 4, 11, False), (1, 2, 1, 4, 11, True), (2, 1, 1, 2, 12, True),
    (1, 2, 3, 4, 13, True), (2, 2, 2, 6, 15, False),
)]  # fmt: skip


@cache
def random_weights(config: ModelConfig) -> dict[str, Array]:
    """Return weights of a plain Llama under their Hugging Face names, large enough that each one changes the result."""
    random = np.random.default_rng(0)
    dim, inner, d = config.hidden_size, config.intermediate_size, config.head_dim
    q, kv = config.num_attention_heads * d, config.num_key_value_heads * d
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens": (config.vocab_size, dim), "model.norm": (dim,)}
    if not config.tie_word_embeddings:
        shapes["lm_head"] = (config.vocab_size, dim)
    for number in range(config.num_hidden_layers):
        layer = {
            "input_layernorm": (dim,), "post_attention_layernorm": (dim,), "self_attn.q_proj": (q, dim),
            "self_attn.k_proj": (kv, dim), "self_attn.v_proj": (kv, dim), "self_attn.o_proj": (dim, q),
            "mlp.gate_proj": (inner, dim), "mlp.up_proj": (inner, dim), "mlp.down_proj": (dim, inner),
        }  # fmt: skip
        shapes |= {f"model.layers.{number}.{name}": shape for name, shape in layer.items()}
    return {
        f"{name}.weight": 1 + 0.5 * random.normal(size=shape)
        if len(shape) == 1
        else random.normal(size=shape) * 1.5 / np.sqrt(shape[1])
        for name, shape in shapes.items()
    }
