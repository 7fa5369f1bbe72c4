"""The work of a pass, from the shapes of its rows alone, as `estimate/work.py` computes it."""

from typing import Any

from minillm.estimate.memory import WEIGHTS
from minillm.estimate.parameters import head_parameters, layers_parameters
from minillm.estimate.work import Tokens, Work, forward_work
from minillm.events import PassBegun
from minillm.kv_cache.cache import Cache
from minillm.model import LayerWeights, Model


def pass_work(event: PassBegun) -> Work:
    """Return the operations of a pass, and the bytes that it reads at least once."""
    model = event.model
    assert isinstance(model, Model)
    config = model.config
    rows = [Tokens(len(each.tokens), each.first, each.logit_rows) for each in event.sequences]
    numbers = 2 * config.num_key_value_heads * config.head_dim  # of a token's keys and values in a layer
    cache = event.sequences[0].cache
    assert isinstance(cache, Cache)
    each = cache.layout().bytes_per_token / numbers if config.num_hidden_layers else 0
    return forward_work(config, rows, weight_bytes(model), each)


def weight_bytes(model: Model) -> float:
    """Return the bytes of a weight, a mean over all matrices, as the model keeps them."""
    config = model.config
    if model.streamed:
        stored = WEIGHTS.get(model.weights)
        return stored.bytes_each if stored and model.weights != "float32" else model.dtype.itemsize
    matrices = [model.head, *(matrix for layer in model.layers() for matrix in _matrices(layer))]
    parts = [part for matrix in matrices for part in (matrix if isinstance(matrix, list) else [matrix])]
    return sum(map(_stored_bytes, parts)) / (layers_parameters(config) + head_parameters(config))


def _stored_bytes(part: Any) -> int:
    """Return the bytes of an array, of a quantised matrix, or of the tiles of the compiled backend."""
    arrays = [part] if hasattr(part, "nbytes") else part.arrays
    return sum(int(array.nbytes) for array in arrays)


def _matrices(layer: LayerWeights) -> list[object]:
    return [layer.qkv, layer.output, layer.gate_up, layer.down]
