"""Lines that describe an object: a model, a request, a pool, the rows of a sequence."""

from typing import Any

from minillm.completion import Completion
from minillm.events import Rows
from minillm.kv_cache.contiguous import KVCache
from minillm.kv_cache.paged import BlockPool
from minillm.model import Model

CONFIG = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "tie_word_embeddings",
)
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed", "ignore_eos")


def kind_of(line: dict[str, Any]) -> str:
    """Return what a line tells: its kind, or the action of a block line."""
    return str(line.get("do") or line["t"])


def model_line(number: int, model: Model) -> dict[str, Any]:
    """Describe a model."""
    config: dict[str, Any] = {name: getattr(model.config, name) for name in CONFIG}
    return {
        "t": "model",
        "model": number,
        "name": model.name,
        "backend": model.ops.name,
        "dtype": str(model.dtype),
        "weights": model.weights,
        "config": config | {"sliding_windows": list(model.config.sliding_windows)},
    }


def request_line(number: int, completion: Completion, tokens: int, group: int | None) -> dict[str, Any]:
    """Describe a request that has `tokens` tokens: its prompt, or more if the recording began later."""
    sampling = {name: getattr(completion.sampling, name) for name in SAMPLING}
    return {
        "t": "request",
        "id": number,
        "prompt": completion.sequence[:tokens],
        "max": completion.max_new_tokens,
        "sampling": sampling | {"stop": list(completion.sampling.stop or ())},
        "group": group,
    }


def pool_line(first: int, pool: Any) -> dict[str, Any]:
    """Describe the blocks of a pool, which are numbered from `first` on."""
    size = pool.block_nbytes if isinstance(pool, BlockPool) else 0
    return {"t": "pool", "first": first, "blocks": pool.num_blocks, "size": pool.block_size, "bytes": size}


def admit_line(number: int, table: int | None, cache: object) -> dict[str, Any]:
    """Describe the memory that a request begins with."""
    contiguous = isinstance(cache, KVCache)
    kind = "none" if cache is None else "contiguous" if contiguous else "paged"
    capacity = cache.capacity if isinstance(cache, KVCache) else None
    return {"t": "admit", "id": number, "table": table, "kind": kind, "capacity": capacity}


def phase_of(rows: Rows, completion: Completion | None, naive: bool, preempted: bool) -> str:
    """Return what the rows of a sequence do in a pass of the model that answers.

    Without a completion, somebody calls `prefill` or `forward` by hand.
    """
    if naive:
        return "naive"
    if rows.logit_rows > 1 and completion:
        return "verify"
    of_prompt = rows.first < completion.prompt_tokens if completion else len(rows.tokens) > 1
    if not of_prompt:
        return "decode" if len(rows.tokens) == 1 else "recompute"
    if preempted:
        return "recompute"
    return "prefill" if rows.logit_rows else "chunk"
