"""Read the tokenizer of a folder in Hugging Face layout: tokenizer.json, the files around it, and the chat template.

The steps that turn text into tokens are those of tokenizer.json: the class in tokenizer_config.json does not count.
Other settings there that a different program would act upon get one warning.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minillm.loading.side_files import read_special_tokens
from minillm.support.files import read_json, read_ordinary_file
from minillm.text.tokenizer import Tokenizer

LARGEST_TOKENIZER = 64_000_000  # bytes of each file that lists tokens
LARGEST_TEMPLATE = 1_000_000  # bytes of a template
SIDE_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
IGNORED = [  # if true
    "add_eos_token",
    "split_special_tokens",
    "fix_mistral_regex",
    "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
]


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
    tokens = read_special_tokens(settings, special_map, added)
    template = find_template(folder, settings.get("chat_template"))
    tokenizer = Tokenizer(definition, control_ids, template, tokens, settings.get("add_bos_token") is True)
    _warn_of_ignored(settings, tokenizer)
    return tokenizer


def _json_object(file: Path) -> dict[str, Any]:
    """Return the fields of a JSON file, or {} if it is missing."""
    values = read_json(file, LARGEST_TOKENIZER) if file.exists() else {}
    if not isinstance(values, dict):
        raise ValueError(f"{file.name}: expected a JSON object")
    return values


def _warn_of_ignored(settings: Mapping[str, Any], tokenizer: Tokenizer) -> None:
    """Issue one warning of settings that would change the tokens or the text, and one of a token after it."""
    ignored = [name for name in IGNORED if settings.get(name) is True]
    if settings.get("fast_tokenizer_files") not in (None, [], ["tokenizer.json"]):
        ignored.append("fast_tokenizer_files")
    prefix = settings.get("add_prefix_space")
    if isinstance(prefix, bool) and prefix != tokenizer.adds_space:
        ignored.append("add_prefix_space")
    if tokenizer.not_appended:
        text = tokenizer.decode(tokenizer.not_appended)
        warnings.warn(f"tokenizer.json: {text!r} is not put after a prompt, since it continues", stacklevel=6)
    if ignored:
        warnings.warn(
            f"tokenizer_config.json: {', '.join(ignored)} without effect; the steps of tokenizer.json count",
            stacklevel=6,
        )


def find_template(folder: Path, setting: Any) -> str | None:
    """Return the template for messages, from the first of these places that has any; None if none has.

    - the file chat_template.jinja, with more by their names in the folder additional_chat_templates;
    - `setting`, which is chat_template of tokenizer_config.json: one template, or several by their names;
    - the same field of chat_template.json, where older models of images keep it.

    Raises:
        ValueError: a file is not in the format that its name says, or the template is too large.
    """
    files = {file.stem: file for file in (folder / "additional_chat_templates").glob("*.jinja")}
    if (folder / "chat_template.jinja").exists():
        files = {"default": folder / "chat_template.jinja"} | files
    if files:
        _warn_without_default(files)
        return _template_file(files["default"]) if "default" in files else None
    if setting is None:
        setting = _json_object(folder / "chat_template.json").get("chat_template")
    if isinstance(setting, list):
        entries = [entry for entry in setting if isinstance(entry, dict) and isinstance(entry.get("name"), str)]
        setting = {entry["name"]: entry.get("template") for entry in entries}
    if isinstance(setting, dict):
        _warn_without_default(setting)
        setting = setting.get("default")
    if isinstance(setting, str) and len(setting) > LARGEST_TEMPLATE:
        raise ValueError(f"chat_template: expected at most {LARGEST_TEMPLATE} characters, found {len(setting)}")
    return setting if isinstance(setting, str) else None


def _template_file(file: Path) -> str:
    try:
        return read_ordinary_file(file, LARGEST_TEMPLATE).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{file.name}: expected UTF-8") from None


def _warn_without_default(templates: Iterable[str]) -> None:
    """Issue a warning if only a name could tell which of several templates is for messages without tools."""
    names = sorted(templates)
    if names and "default" not in names:
        shown = ", ".join(name[:40] for name in names[:4])
        warnings.warn(f"chat templates: expected one named default, found {shown}; none is used", stacklevel=7)
