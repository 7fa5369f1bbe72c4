"""Anybody's engine as a file: what `pytest --minillm-engine my_engine.py` asks of it.

The file defines `make_engine(config, weights)`, which returns an object with these functions; `config` is a
minillm.config.ModelConfig, `weights` float64 arrays `[out, in]` under their Hugging Face names. The models are random
tiny Llamas, and everything is compared with reference.py.

    new_cache()              an empty cache
    prefill(tokens, cache)   append them; the logits [vocab] after the last
    decode(token, cache)     append one; the logits [vocab] after it
    truncate(cache, length)  forget all tokens from index `length` on
    fork(cache)              an independent cache that holds the same tokens
    batch([(tokens, cache), ...])    append to each; the logits [sequences, vocab] after the last of each

Or the file itself has the functions, with weights of its own, and says VOCAB_SIZE: then the engine is compared with
itself, one prefill into a new cache; or MODEL, a name for `minillm.load`: then with reference.py on that model.
All but the first two may be missing; what needs them is skipped. TOLERANCE (1e-4) is relative to the largest logit.
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
    """The six functions of an engine, and a record of the calls, which is what a counterexample shows."""

    def __init__(
        self,
        engine: Any,
        vocab_size: int,
        expected: Callable[[Sequence[int]], Array] | None,
        title: str,
        tolerance: float = TOLERANCE,
    ) -> None:
        """No call yet.

        Args:
            engine: has the functions.
            vocab_size: token ids are below it.
            expected: logits after the last of some tokens; None if the engine is compared with itself.
            title: the model in words.
            tolerance: relative to the largest logit.
        """
        self.engine, self.vocab_size, self.expected, self.tolerance = engine, vocab_size, expected, tolerance
        self.calls = [title]
        self.caches: list[Any] = []
        self.tokens: Sequence[int] = ()

    def has(self, name: str) -> bool:
        """Whether it has the function of this name."""
        return callable(getattr(self.engine, name, None))

    def naive(self, tokens: Sequence[int]) -> Array:
        """Logits after the last token, from nothing: the reference's, or the engine's own without a filled cache."""
        self.tokens = list(tokens)
        if self.expected is not None:
            return self.expected(tokens)
        return self._logits(self.engine.prefill(list(tokens), self.engine.new_cache()))

    def new_cache(self, capacity: int) -> Any:
        """An empty cache; how large it can grow is the engine's affair."""
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
        """Append to several caches at once."""
        shown = ", ".join(f"({list(tokens)}, {self._name(cache)})" for tokens, cache in batch)
        pairs = [(list(tokens), cache) for tokens, cache in batch]
        rows = self._call(f"batch([{shown}])", self.engine.batch, pairs)
        count = len(rows) if hasattr(rows, "__len__") else "no"
        if count != len(batch):
            raise AssertionError(self._told(f"batch returned {count} rows for {len(batch)} sequences"))
        return rows

    def truncate(self, cache: Any, length: int) -> None:
        """Forget the last tokens."""
        self._call(f"truncate({self._name(cache)}, {length})", self.engine.truncate, cache, length)

    def fork(self, cache: Any) -> Any:
        """Copy a cache."""
        return self._named(self._call(f"{self._next_name()} = fork({self._name(cache)})", self.engine.fork, cache))

    def assert_same(self, found: Any, expected: Array) -> None:
        """The same logits, up to the tolerance."""
        logits = self._logits(found)
        wrong = ~(np.abs(logits - expected) <= self.tolerance * np.abs(expected).max())  # nan is wrong too
        if wrong.any():
            place = int(wrong.argmax())
            whose = "the reference's" if self.expected is not None else "one prefill's"
            text = f"the last logits are not {whose} for the tokens {list(self.tokens)}: "
            pair = f"at id {place} {logits[place]:.6g}, expected {expected[place]:.6g}"
            raise AssertionError(self._told(text + pair))

    def assert_length(self, cache: Any, length: int) -> None:
        """Engines need not tell how long a cache is."""

    def _logits(self, found: Any) -> Array:
        """What the engine returned, if it is logits."""
        try:
            logits = np.asarray(found, np.float64)
        except (TypeError, ValueError):
            raise AssertionError(self._told(f"returned {type(found).__name__}; expected logits [vocab]")) from None
        if logits.shape != (self.vocab_size,):
            shape = list(logits.shape)
            raise AssertionError(self._told(f"returned logits of shape {shape}; expected [{self.vocab_size}]"))
        return logits

    def _call(self, shown: str, function: Callable[..., Any], *arguments: Any) -> Any:
        self.calls.append(f"    {shown}")
        try:
            return function(*arguments)
        except (Exception, SystemExit) as problem:
            raise AssertionError(self._told(f"{type(problem).__name__}: {problem}")) from problem

    def _told(self, what: str) -> str:
        return "\n".join([*self.calls, what])

    def _named(self, cache: Any) -> Any:
        self.caches.append(cache)  # kept, so that names stay unique
        return cache

    def _name(self, cache: Any) -> str:
        return next(chr(ord("a") + n) for n, known in enumerate(self.caches) if known is cache)

    def _next_name(self) -> str:
        return chr(ord("a") + len(self.caches))


def load_engine(file: Path) -> tuple[st.SearchStrategy[Engine], Callable[[str], bool]]:
    """The engines that a file makes, and whether they have a function.

    Raises:
        ValueError: it lacks what is needed, or does not load.
    """
    try:
        found = SimpleNamespace(**runpy.run_path(str(file), run_name="engine"))
        tolerance = float(getattr(found, "TOLERANCE", TOLERANCE))
        made = hasattr(found, "make_engine")
        example = found.make_engine(CONFIGS[0], dict(random_weights(CONFIGS[0]))) if made else found
    except (Exception, SystemExit) as problem:  # a file that ends pytest, with code 0, would look like a pass
        raise ValueError(f"{file} does not load: {one_line(f'{type(problem).__name__}: {problem}')}") from problem
    engines = _made(found, tolerance) if made else _own(found, file, tolerance)
    for name in ("new_cache", "prefill"):
        if not callable(getattr(example, name, None)):
            raise ValueError(f"{file}: there is no {name}; expected at least new_cache and prefill, or a make_engine")
    return engines, lambda name: callable(getattr(example, name, None))


def _made(found: Any, tolerance: float) -> st.SearchStrategy[Engine]:
    """An engine of its own for every example, on one of a few random models, the simplest first."""

    def engine(config: ModelConfig) -> EngineUnderTest:
        title = (
            f"a model of {config.num_hidden_layers} layers, {config.num_attention_heads} heads over "
            f"{config.num_key_value_heads} key/value heads of {config.head_dim}, vocabulary {config.vocab_size}:"
        )
        made = found.make_engine(config, dict(random_weights(config)))
        return EngineUnderTest(made, config.vocab_size, lambda tokens: _known(config, tuple(tokens)), title, tolerance)

    return st.sampled_from(CONFIGS).map(engine)


@cache
def _known(config: ModelConfig, tokens: tuple[int, ...]) -> Array:
    """What the reference says; shrinking asks the same again and again."""
    return reference.forward(config, random_weights(config), tokens)[-1]


def _own(found: Any, file: Path, tolerance: float) -> st.SearchStrategy[Engine]:
    """The file itself is the engine."""
    if hasattr(found, "MODEL"):
        from minillm.loading import open_checkpoint
        from minillm.loading.build import weights_by_name

        checkpoint = open_checkpoint(found.MODEL)
        config, weights = checkpoint.config, weights_by_name(checkpoint)

        def expected(tokens: Sequence[int]) -> Array:
            return reference.forward(config, weights, tokens)[-1]

        return st.builds(lambda: EngineUnderTest(found, config.vocab_size, expected, f"{found.MODEL}:", tolerance))
    if type(size := getattr(found, "VOCAB_SIZE", None)) is not int or size < 1:
        raise ValueError(f"{file}: expected make_engine(config, weights), or the functions themselves and a VOCAB_SIZE")
    return st.builds(lambda: EngineUnderTest(found, found.VOCAB_SIZE, None, "compared with itself:", tolerance))


def plain_config(layers: int, kv_heads: int, group: int, head_dim: int, vocab_size: int, tied: bool) -> ModelConfig:
    """A Llama with nothing special about it."""
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
    """Weights of a plain Llama under their Hugging Face names, large enough that every part changes the result."""
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
