"""`hf:org/name`: download a model's folder from the Hugging Face hub, or find it in the hub's local cache.

Only configuration, tokenizer, template and safetensors are downloaded: never a pickle or a program.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from minillm.loading.folder_kinds import looks_like, names_in

WANTED = ("*.json", "*.safetensors", "*.jinja")
CONFIG = ("config.json",)  # enough for an estimate
UNWANTED = ["*/*", "consolidated*"]  # folders of other formats; Mistral's second copy of the weights
NAME = r"\w[\w.-]{0,95}/\w[\w.-]{0,95}"
LIKE_A_NAME = rf"(?:https?://)?(?:huggingface\.co/|hf\.co/)?({NAME}?)(?:[@:/?#\s]|$)"  # a link, or more than a name
REASONS = {
    "GatedRepoError": "its owner requires a licence agreement: accept it at huggingface.co/{0}, then set HF_TOKEN",
    "RepositoryNotFoundError": "there is no such model, or it is private: check the name, or set HF_TOKEN",
    "LocalEntryNotFoundError": "the hub cannot be reached, and no copy is in the local cache: check the connection "
    "and HF_HUB_OFFLINE, or download it elsewhere (`hf download {0}`) and pass its folder",
    "IncompleteSnapshotError": "the local copy is incomplete, and the hub cannot be reached: check the connection and "
    "HF_HUB_OFFLINE",
}


def fetch_from_hub(name: str, wanted: Sequence[str] = WANTED) -> Path:
    """Return the local folder of `hf:org/name`, with the `wanted` files downloaded if necessary.

    Raises:
        ValueError: the name does not have this form.
        OSError: the download failed, or the repository has no such files; the message says what to do.
    """
    repository = _checked(name)
    import huggingface_hub
    from huggingface_hub.utils.logging import set_verbosity_error
    from huggingface_hub.utils.tqdm import disable_progress_bars

    set_verbosity_error()  # type: ignore[no-untyped-call]  # else it warns when no file is wanted; the line below says more
    if not (sys.stderr and sys.stderr.isatty()):
        disable_progress_bars()
    try:
        folder = Path(huggingface_hub.snapshot_download(repository, allow_patterns=[*wanted], ignore_patterns=UNWANTED))
    except Exception as problem:
        other = f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
        reason = REASONS.get(type(problem).__name__, other).format(repository)
    else:
        if not (missing := _missing(folder, wanted)):
            return folder
        reason = f"{missing} is missing{_why(repository, folder)}"
    raise OSError(f"{name}: cannot be downloaded: {reason}")


def _why(repository: str, folder: Path) -> str:
    """Return what the repository has instead; or, if the hub does not say, that it cannot be reached."""
    import huggingface_hub

    try:
        return looks_like(huggingface_hub.list_repo_files(repository))
    except Exception:
        offline = "; " + REASONS["LocalEntryNotFoundError"].format(repository)
        return looks_like(names_in(folder)) or offline


def _checked(name: str) -> str:
    repository = name.removeprefix("hf:")
    if not re.fullmatch(NAME, repository, re.ASCII):
        found = re.match(LIKE_A_NAME, repository, re.ASCII)
        meant = f"; did you mean hf:{found[1]}? For another revision or one file, pass a local copy" if found else ""
        raise ValueError(f"model is {name[:80]!r}; expected hf:org/name{meant}")
    return repository


def _missing(folder: Path, wanted: Sequence[str]) -> str:
    """Return what a model needs of the wanted files and the folder does not have; empty if nothing is missing."""
    if not (folder / "config.json").is_file():
        return "config.json"
    return "model.safetensors" if "*.safetensors" in wanted and not any(folder.glob("*.safetensors")) else ""
