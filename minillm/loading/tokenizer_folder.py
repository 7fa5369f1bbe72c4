"""Read the tokenizer of a folder in Hugging Face layout: tokenizer.json, the files around it, and the chat template."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minillm.loading.side_files import read_special_tokens
from minillm.support.files import read_json, read_ordinary_file
from minillm.text.tokenizer import Tokenizer

LARGEST_TOKENIZER = 64_000_000  # bytes of each file that lists tokens
LARGEST_TEMPLATE = 1_000_000  # bytes of chat_template.jinja
SIDE_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def read_tokenizer(folder: Path, control_ids: Sequence[int]) -> Tokenizer | None:
    """Return the tokenizer of a folder, or None if it has no tokenizer.json.

    Args:
        folder: in Hugging Face layout.
        control_ids: tokens that are special even if no file of the tokenizer says so.

    Raises:
        ValueError: a file is not in the format that its name says.
    """
    if not (folder / "tokenizer.json").exists():
        return None
    definition = read_ordinary_file(folder / "tokenizer.json", LARGEST_TOKENIZER)
    settings, special_map, added = (_json_object(folder / name) for name in SIDE_FILES)
    return Tokenizer(
        definition,
        control_ids,
        _find_template(folder, settings.get("chat_template")),
        read_special_tokens(settings, special_map, added),
        settings.get("add_bos_token") is True,
    )


def _json_object(file: Path) -> dict[str, Any]:
    """Return the fields of a JSON file, or {} if it is missing."""
    values = read_json(file, LARGEST_TOKENIZER) if file.exists() else {}
    if not isinstance(values, dict):
        raise ValueError(f"{file.name}: expected a JSON object")
    return values


def _find_template(folder: Path, template: Any) -> str | None:
    """Return chat_template.jinja, or else `template` of tokenizer_config.json: a text, or the "default" of a list."""
    file = folder / "chat_template.jinja"
    if file.exists():
        try:
            return read_ordinary_file(file, LARGEST_TEMPLATE).decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("chat_template.jinja: expected UTF-8") from None
    if isinstance(template, list):
        named = [t.get("template") for t in template if isinstance(t, dict) and t.get("name") == "default"]
        template = named[0] if named else None
    return template if isinstance(template, str) else None
