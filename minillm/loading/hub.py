"""`hf:org/name`: download a model's folder from the Hugging Face hub, or find it in the hub's local cache.

Only configuration, tokenizer, template and safetensors are downloaded: never a pickle or a program.
"""

import re
import sys
from pathlib import Path

WANTED = ["*.json", "*.safetensors", "*.jinja"]
UNWANTED = ["*/*", "consolidated*"]  # folders of other formats; Mistral's second copy of the weights
NAME = r"\w[\w.-]{0,95}/\w[\w.-]{0,95}"
REASONS = {
    "GatedRepoError": "its owner requires a licence agreement: accept it at huggingface.co/{0}, then set HF_TOKEN",
    "RepositoryNotFoundError": "there is no such model, or it is private: check the name, or set HF_TOKEN",
    "LocalEntryNotFoundError": "the hub cannot be reached, and no copy is in the local cache: check the connection "
    "and HF_HUB_OFFLINE, or download it elsewhere (`hf download {0}`) and pass its folder",
}


def fetch_from_hub(name: str) -> Path:
    """Return the local folder of `hf:org/name`, downloaded if necessary.

    Raises:
        ValueError: the name does not have this form.
        OSError: the download failed; the message says what to do.
    """
    repository = name.removeprefix("hf:")
    if not re.fullmatch(NAME, repository, re.ASCII):
        raise ValueError(f"model is {name[:80]!r}; expected hf:org/name")
    import huggingface_hub
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not (sys.stderr and sys.stderr.isatty()):
        disable_progress_bars()
    try:
        return Path(huggingface_hub.snapshot_download(repository, allow_patterns=WANTED, ignore_patterns=UNWANTED))
    except Exception as problem:
        other = f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
        reason = REASONS.get(type(problem).__name__, other).format(repository)
    raise OSError(f"{name}: cannot be downloaded: {reason}")
