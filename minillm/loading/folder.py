"""Read a model folder in Hugging Face layout: config.json, safetensors, tokenizer.json and optional files."""

from pathlib import Path

from minillm.loading.checkpoint import Checkpoint
from minillm.loading.folder_kinds import looks_like, names_in
from minillm.loading.read_config import read_config
from minillm.loading.safetensors_file import read_folder_tensors
from minillm.loading.settle import settle
from minillm.support.files import read_json
from minillm.text.tokenizer import Tokenizer

OTHER_TOKENIZERS = ("tokenizer.model", "vocab.json", "tekken.json")  # of SentencePiece, GPT-2 and Mistral


def read_folder(folder: Path, name: str) -> Checkpoint:
    """Return the checkpoint in this folder. `name` is used in messages.

    Raises:
        ValueError: the contents of a file are invalid.
        OSError: a file is missing or cannot be read.
    """
    config_file, generation_file = required_config(folder), folder / "generation_config.json"
    generation = read_json(generation_file) if generation_file.exists() else None
    config = read_config(read_json(config_file), "config.json", generation)
    tokenizer = Tokenizer.from_folder(folder, config.bos_token_id, config.eos_token_ids)
    config, tensors = settle(config, read_folder_tensors(folder), "config.json")
    return Checkpoint(name, config, tensors, tokenizer, "" if tokenizer else _without_tokenizer(folder))


def required_config(folder: Path) -> Path:
    """Return the path of the folder's config.json.

    Raises:
        FileNotFoundError: there is none; the message says what the folder is instead.
    """
    file = folder / "config.json"
    if not file.is_file():
        gguf = [f", or pass the file {path} itself" for path in sorted(folder.glob("*.gguf"))]
        hint = gguf[0] if gguf else looks_like(names_in(folder))
        raise FileNotFoundError(f"{folder}: config.json is missing; expected a folder in Hugging Face layout{hint}")
    return file


def _without_tokenizer(folder: Path) -> str:
    """Return why there is no tokenizer, and what to do."""
    for name in OTHER_TOKENIZERS:
        if (folder / name).exists():
            return (
                f"there is {name}, but no tokenizer.json: make it with "
                "`AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)` of transformers"
            )
    return "there is no tokenizer.json"
