"""Read a model folder in Hugging Face layout: config.json, safetensors, tokenizer.json and optional files."""

from dataclasses import replace
from pathlib import Path

from minillm.loading.checkpoint import Checkpoint
from minillm.loading.ends_of_answer import ends_of_answer
from minillm.loading.read_config import read_config
from minillm.loading.safetensors_file import read_folder_tensors
from minillm.loading.tokenizer_folder import read_tokenizer
from minillm.support.files import read_json


def read_folder(folder: Path, name: str) -> Checkpoint:
    """Return the checkpoint in this folder. `name` is used in messages.

    Raises:
        ValueError: the contents of a file are invalid.
        OSError: a file is missing or cannot be read.
    """
    if not (folder / "config.json").is_file():
        gguf = [f", or pass the file {path} itself" for path in sorted(folder.glob("*.gguf"))]
        hint = gguf[0] if gguf else ""
        raise FileNotFoundError(f"{folder}: config.json is missing; expected a folder in Hugging Face layout{hint}")
    generation_file = folder / "generation_config.json"
    generation = read_json(generation_file) if generation_file.exists() else None
    config = read_config(read_json(folder / "config.json"), "config.json", generation)
    control_ids = [*config.eos_token_ids, *([] if config.bos_token_id is None else [config.bos_token_id])]
    tokenizer = read_tokenizer(folder, control_ids)
    if tokenizer is not None:
        ends = ends_of_answer(config.eos_token_ids, tokenizer.ends, tokenizer.token_id, config.vocab_size)
        config = replace(config, eos_token_ids=ends)
    return Checkpoint(name, config, read_folder_tensors(folder), tokenizer)
