"""One example of an engine: with a model, and a record of its calls. The files of failing examples use it."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from minillm import reference
from minillm.arrays import Array
from minillm.config import ModelConfig
from minillm.verification.adapter import Adapter, read_adapter
from minillm.verification.edited_cache import appended, edited_logits
from minillm.verification.engine_process import EngineProcess
from minillm.verification.engine_under_test import EngineUnderTest, Transport
from minillm.verification.failure import EngineFailed
from minillm.verification.findings import Findings
from minillm.verification.in_process import InProcess
from minillm.verification.models import random_weights
from minillm.verification.refusals import Refused

Example = Callable[[ModelConfig | None, Findings], EngineUnderTest]


@contextmanager
def engine_of(
    file: Path | str, name: str, config: ModelConfig | None = None, in_process: bool = False
) -> Iterator[EngineUnderTest]:
    """Load one engine of a file, and judge the calls of the block. Exit with status 1 if one of them is wrong.

    Args:
        file: the file.
        name: that of `engines()`, or the file's own.
        config: the model for make_engine; None if the engine has its own.
        in_process: whether the engine runs in this process, so that a debugger can step into it. In a process of its
            own, it may crash or hang.
    """
    try:
        transport: Transport = (InProcess if in_process else EngineProcess)(Path(file))
        adapter = read_adapter(next(one for one in transport.described if one["name"] == name), file)
    except StopIteration:
        sys.exit(f"{file} has no engine {name!r}")
    except (OSError, ValueError) as problem:
        sys.exit(str(problem))
    findings = Findings(adapter.tolerance)
    try:
        yield example_of(adapter, transport)(config, findings)
        print("as expected")
    except Refused:
        print(f"refused, not a failure: {findings.refusal}")
        sys.exit(0)
    except EngineFailed as problem:
        sys.exit(str(problem))
    finally:
        transport.close()


def example_of(adapter: Adapter, transport: Transport) -> Example:
    """Return a function that begins an example with the engine."""
    return _made(adapter, transport) if adapter.made else _own(adapter, transport)


def _made(adapter: Adapter, transport: Transport) -> Example:
    """Return a function that makes a new engine for every example, with one of several random models."""

    def engine(config: ModelConfig | None, findings: Findings) -> EngineUnderTest:
        assert config is not None
        title = (
            f"a model with num_hidden_layers={config.num_hidden_layers}, heads={config.num_attention_heads}, "
            f"kv_heads={config.num_key_value_heads}, head_dim={config.head_dim}, vocab_size={config.vocab_size}:"
        )
        expected = None if adapter.to_itself else lambda tokens: _known(config, tuple(tokens))
        return EngineUnderTest(transport, adapter, config, expected, title, findings)

    return engine


@cache
def _known(config: ModelConfig, tokens: tuple[int, ...]) -> Array:
    """Return the reference's logits. They are cached, because shrinking repeats the same examples."""
    if config.num_hidden_layers == 1:
        return edited_logits(config, random_weights(config), appended([], tokens))  # equal, and faster
    return reference.forward(config, random_weights(config), tokens)[-1]


def _own(adapter: Adapter, transport: Transport) -> Example:
    """Return a function that takes an engine with weights of its own for an example."""
    if adapter.to_itself:
        title = "compared with itself:"
        return lambda _, findings: EngineUnderTest(transport, adapter, None, None, title, findings)
    from minillm.loading import open_checkpoint
    from minillm.loading.build import weights_by_name

    assert adapter.model is not None
    checkpoint = open_checkpoint(adapter.model)
    config, weights = checkpoint.config, weights_by_name(checkpoint)

    def expected(tokens: Sequence[int]) -> Array:
        return reference.forward(config, weights, tokens)[-1]

    known = replace(adapter, vocab_size=config.vocab_size)
    return lambda _, findings: EngineUnderTest(transport, known, None, expected, f"{adapter.model}:", findings)
