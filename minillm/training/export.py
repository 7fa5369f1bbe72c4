"""Export trained parameters as a folder in Hugging Face layout, which `minillm.load` and transformers can read."""

import json
import os
from pathlib import Path

import numpy as np

from minillm.loading.save_folder import config_fields
from minillm.training.parameters import ParameterVector


def export(parameters: ParameterVector, folder: Path) -> None:
    """Write config.json and model.safetensors, each atomically. All parameters are rounded to float16.

    Other files in the folder, such as tokenizer.json, are not changed.

    Raises:
        OSError: the folder cannot be written.
    """
    from safetensors.numpy import save

    fields = config_fields(parameters.config) | {"torch_dtype": "float16"}
    tensors = {name: tensor.astype(np.float16) for name, tensor in parameters.tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / "config.json", (json.dumps(fields, indent=2) + "\n").encode())
    _replace(folder / "model.safetensors", save(tensors, {"format": "pt"}))


def _replace(file: Path, contents: bytes) -> None:
    partial = file.with_name(file.name + ".partial")
    partial.write_bytes(contents)
    os.replace(partial, file)
