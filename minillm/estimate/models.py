"""Well-known models by their sizes, for estimates without a file of weights. The sizes are in `models.toml`."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from minillm.config import ModelConfig, RopeParameters


@cache
def model_table() -> dict[str, ModelConfig]:
    """Return all models of the table by name."""
    file = Path(__file__).with_name("models.toml")
    return {name: _config(entry) for name, entry in tomllib.loads(file.read_text(encoding="utf-8")).items()}


def _config(entry: dict[str, Any]) -> ModelConfig:
    """Return a config of these sizes; fields that influence neither work nor memory get usual values."""
    sizes = {key: value for key, value in entry.items() if key not in ("source", "sliding_window")}
    windows = (entry.get("sliding_window"),) * entry["num_hidden_layers"]
    usual: dict[str, Any] = {"rms_norm_eps": 1e-5, "rope": RopeParameters(), "attention_bias": False}
    usual |= {"attention_output_bias": False, "mlp_bias": False, "qk_norm": False}
    usual |= {"bos_token_id": None, "eos_token_ids": (), "sliding_windows": windows}
    return ModelConfig(**(usual | sizes))


def find_model(name: str) -> ModelConfig:
    """Return the model with this name in the table.

    Raises:
        ValueError: the table has no such model; the message lists all names.
    """
    if name not in model_table():
        raise ValueError(f"no model {name[:40]!r} in the table; known are {', '.join(model_table())}")
    return model_table()[name]
