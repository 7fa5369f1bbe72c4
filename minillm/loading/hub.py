"""`hf:org/name`: fetch a model's folder from the Hugging Face hub, or find it in the hub's local cache."""

import re
from pathlib import Path


def fetch_from_hub(name: str) -> Path:
    """The folder of `hf:org/name`.

    Raises:
        ValueError: not of that form.
        OSError: it could not be fetched.
    """
    repository = name.removeprefix("hf:")
    if not re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", repository, re.ASCII):
        raise ValueError(f"model is {name[:80]!r}; expected hf:org/name")
    import huggingface_hub

    try:
        return Path(
            huggingface_hub.snapshot_download(repository, allow_patterns=["*.json", "*.safetensors", "*.jinja"])
        )
    except Exception as problem:
        reason = type(problem).__name__
        raise OSError(
            f"{name}: cannot be fetched ({reason}); check the name and the connection, or fetch it elsewhere "
            "and pass its folder"
        ) from None
