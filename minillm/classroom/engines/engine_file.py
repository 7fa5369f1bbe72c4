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
- MODEL, a name for `minillm.load`: the engine is compared with reference.py on this model.

TOLERANCE (default 1e-4) is relative to the largest logit.
"""

import runpy
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minillm import reference
from minillm.arrays import Array
from minillm.classroom.engines.engine_properties import Engine
from minillm.config import ModelConfig, RopeParameters
from minillm.support.printable import one_line

TOLERANCE = 1e-4


class EngineUnderTest:
    """The six functions of an engine, with a record of the calls. A counterexample shows this record."""

    def __init__(
        self,
        engine: Any,
        vocab_size: int,
        expected: Callable[[Sequence[int]], Array] | None,
        title: str,
        tolerance: float = TOLERANCE,
    ) -> None:
        """Wrap an engine.

        Args:
            engine: an object with the functions.
            vocab_size: the size of the vocabulary.
            expected: returns the logits after the last token; None if the engine is compared with itself.
            title: a description of the model.
            tolerance: the tolerance, relative to the largest logit.
        """
        self.engine, self.vocab_size, self.expected, self.tolerance = engine, vocab_size, expected, tolerance
        self.calls = [title]
        self.caches: list[Any] = []
        self.tokens: Sequence[int] = ()

    def has(self, name: str) -> bool:
        """Return whether the engine has the function."""
        return callable(getattr(self.engine, name, None))

    def naive(self, tokens: Sequence[int]) -> Array:
        """Return the logits after the last token: the reference's, or the engine's own with an empty cache."""
        self.tokens = list(tokens)
        if self.expected is not None:
            return self.expected(tokens)
        return self._logits(self.engine.prefill(list(tokens), self.engine.new_cache()))

    def new_cache(self, capacity: int) -> Any:
        """Return an empty cache. The engine decides about its capacity."""
        return self._named(self._call(f"{self._next_name()} = new_cache()", self.engine.new_cache))

    def prefill(self, tokens: Sequence[int], cache: Any, chunk: int | None = None) -> Array:
        """Append tokens, `chunk` at a time."""
        for first in range(0, len(tokens), chunk or len(tokens)):
            part = list(tokens[first : first + (chunk or len(tokens))])
            logits = self._call(f"prefill({part}, {self._name(cache)})", self.engine.prefill, part, cache)
        return logits

    def decode(self, token: int, cache: Any) -> Array:
        """Append one token."""
        return self._call(f"decode({token}, {self._name(cache)})", self.engine.decode, token, cache)

    def batch(self, batch: Sequence[tuple[Sequence[int], Any]]) -> Array:
        """Append tokens to several caches at once."""
        shown = ", ".join(f"({list(tokens)}, {self._name(cache)})" for tokens, cache in batch)
        pairs = [(list(tokens), cache) for tokens, cache in batch]
        rows = self._call(f"batch([{shown}])", self.engine.batch, pairs)
        count = len(rows) if hasattr(rows, "__len__") else "no"
        if count != len(batch):
            raise AssertionError(self._report(f"batch returned {count} rows for {len(batch)} sequences"))
        return rows

    def truncate(self, cache: Any, length: int) -> None:
        """Drop the tokens from index `length` on."""
        self._call(f"truncate({self._name(cache)}, {length})", self.engine.truncate, cache, length)

    def fork(self, cache: Any) -> Any:
        """Return a fork of a cache."""
        return self._named(self._call(f"{self._next_name()} = fork({self._name(cache)})", self.engine.fork, cache))

    def assert_same(self, found: Any, expected: Array) -> None:
        """Raise AssertionError if the logits differ by more than the tolerance."""
        logits = self._logits(found)
        wrong = ~(np.abs(logits - expected) <= self.tolerance * np.abs(expected).max())  # NaN is wrong, too
        if wrong.any():
            token = int(wrong.argmax())
            whose = "the reference's" if self.expected is not None else "one prefill's"
            text = f"the last logits are not {whose} for the tokens {list(self.tokens)}: "
            pair = f"at id {token} got {logits[token]:.6g}, expected {expected[token]:.6g}"
            raise AssertionError(self._report(text + pair))

    def assert_length(self, cache: Any, length: int) -> None:
        """Do nothing: an engine has no function for the length of a cache."""

    def _logits(self, found: Any) -> Array:
        """Return the result of the engine as an array. Raise AssertionError if its shape is wrong."""
        try:
            logits = np.asarray(found, np.float64)
        except (TypeError, ValueError):
            raise AssertionError(self._report(f"returned {type(found).__name__}; expected logits [vocab]")) from None
        if logits.shape != (self.vocab_size,):
            shape = list(logits.shape)
            raise AssertionError(self._report(f"returned logits of shape {shape}; expected [{self.vocab_size}]"))
        return logits

    def _call(self, shown: str, function: Callable[..., Any], *arguments: Any) -> Any:
        self.calls.append(f"    {shown}")
        try:
            return function(*arguments)
        except (Exception, SystemExit) as problem:
            raise AssertionError(self._report(f"{type(problem).__name__}: {problem}")) from problem

    def _report(self, what: str) -> str:
        return "\n".join([*self.calls, what])

    def _named(self, cache: Any) -> Any:
        self.caches.append(cache)  # kept alive, so that the names stay unique
        return cache

    def _name(self, cache: Any) -> str:
        return next(chr(ord("a") + n) for n, known in enumerate(self.caches) if known is cache)

    def _next_name(self) -> str:
        return chr(ord("a") + len(self.caches))


def load_engine(file: Path) -> tuple[st.SearchStrategy[Engine], Callable[[str], bool]]:
    """Return a strategy for the engines of a file, and a function that says whether they have a function.

    Raises:
        ValueError: if the file does not load, or a required function is missing.
    """
    try:
        found = SimpleNamespace(**runpy.run_path(str(file), run_name="engine"))
        tolerance = float(getattr(found, "TOLERANCE", TOLERANCE))
        made = hasattr(found, "make_engine")
        example = found.make_engine(CONFIGS[0], dict(random_weights(CONFIGS[0]))) if made else found
    except (Exception, SystemExit) as problem:  # SystemExit with code 0 would look like a pass
        raise ValueError(f"{file} does not load: {one_line(f'{type(problem).__name__}: {problem}')}") from problem
    engines = _made(found, tolerance) if made else _own(found, file, tolerance)
    for name in ("new_cache", "prefill"):
        if not callable(getattr(example, name, None)):
            raise ValueError(f"{file}: {name} is missing; expected new_cache and prefill, or make_engine")
    return engines, lambda name: callable(getattr(example, name, None))


def _made(found: Any, tolerance: float) -> st.SearchStrategy[Engine]:
    """Return a strategy that makes a new engine for every example, with one of several random models."""

    def engine(config: ModelConfig) -> EngineUnderTest:
        title = (
            f"a model with num_hidden_layers={config.num_hidden_layers}, heads={config.num_attention_heads}, "
            f"kv_heads={config.num_key_value_heads}, head_dim={config.head_dim}, vocab_size={config.vocab_size}:"
        )
        made = found.make_engine(config, dict(random_weights(config)))
        return EngineUnderTest(made, config.vocab_size, lambda tokens: _known(config, tuple(tokens)), title, tolerance)

    return st.sampled_from(CONFIGS).map(engine)


@cache
def _known(config: ModelConfig, tokens: tuple[int, ...]) -> Array:
    """Return the reference's logits. They are cached, because shrinking repeats the same examples."""
    return reference.forward(config, random_weights(config), tokens)[-1]


def _own(found: Any, file: Path, tolerance: float) -> st.SearchStrategy[Engine]:
    """Return a strategy for a file that is itself the engine."""
    if hasattr(found, "MODEL"):
        from minillm.loading import open_checkpoint
        from minillm.loading.build import weights_by_name

        checkpoint = open_checkpoint(found.MODEL)
        config, weights = checkpoint.config, weights_by_name(checkpoint)

        def expected(tokens: Sequence[int]) -> Array:
            return reference.forward(config, weights, tokens)[-1]

        return st.builds(lambda: EngineUnderTest(found, config.vocab_size, expected, f"{found.MODEL}:", tolerance))
    if type(size := getattr(found, "VOCAB_SIZE", None)) is not int or size < 1:
        raise ValueError(f"{file}: expected make_engine(config, weights), or the functions and a VOCAB_SIZE")
    return st.builds(lambda: EngineUnderTest(found, found.VOCAB_SIZE, None, "compared with itself:", tolerance))


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
