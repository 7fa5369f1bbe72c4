"""The special and added tokens of a folder, from the files around its tokenizer.json.

    tokenizer_config.json      {"bos_token": "<s>", "extra_special_tokens": ["<a>"], "added_tokens_decoder": {...}}
    special_tokens_map.json    {"bos_token": "<s>", "additional_special_tokens": ["<a>"]}
    added_tokens.json          {"<b>": 32000}

The precedence is that of transformers. If tokenizer_config.json has `added_tokens_decoder`, it is complete, and the
other two files do not count. If not, special_tokens_map.json overrules it. The ids in these files decide only in which
order missing tokens are added. Source: transformers' tokenization_utils_base.py.
"""

from collections.abc import Mapping
from reprlib import repr as short  # short for values of any size and depth
from typing import Any

from minillm.loading.fields import Fields
from minillm.support.checks import is_utf8
from minillm.text.special_tokens import SpecialTokens, Token

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def read_special_tokens(
    settings: Mapping[str, Any], special_map: Mapping[str, Any], added: Mapping[str, Any]
) -> SpecialTokens:
    """Return the settled view of the three files, in the order above; {} stands for a file that is missing.

    Raises:
        ValueError: a token is neither a text nor an object with one; the message says which.
    """
    config, older = Fields(settings, "tokenizer_config.json"), Fields(special_map, "special_tokens_map.json")
    ends = [token["content"] for fields in (config, older) if (token := _usual(fields).get("eos_token"))]
    if complete := settings.get("added_tokens_decoder") is not None:
        older = Fields({}, older.source)
    named = _named(config, older)
    listed = _list(config, "extra_special_tokens") or _list(config, "additional_special_tokens")
    listed += _list(older, "extra_special_tokens")
    listed = listed or _list(older, "additional_special_tokens")
    special = {token["content"]: token for token in [*named.values(), *listed]}
    by_id = {} if complete else _by_id(Fields(added, "added_tokens.json"), special)
    return SpecialTokens(
        named={name: token["content"] for name, token in named.items()},
        declared=_declared(config) if complete else (),
        wanted=list((by_id | special | by_id).values()),
        ends=ends,
    )


def _named(config: Fields, older: Fields) -> dict[str, Token]:
    """Return the tokens that have a name. null takes a name away."""
    usual = _usual(config) | _usual(older)
    found = {name: token for name in NAMES if (token := usual.get(name))}
    for fields in (older, config):  # of other names, such as "image_token", those of tokenizer_config.json count
        for name, value in fields.values.items():
            if name.endswith("_token") and name not in NAMES and isinstance(value, str | dict):
                found[name] = _token(fields, name, value)
    for fields in (config, older):
        more = fields.values.get("extra_special_tokens")
        for name, value in more.items() if isinstance(more, dict) else ():
            found[name] = _token(fields, f"extra_special_tokens: {name}", value)
    return found


def _usual(fields: Fields) -> dict[str, Token | None]:
    """Return what the file says of the usual names."""
    given = {name: fields.values[name] for name in NAMES if name in fields.values}
    return {name: None if value is None else _token(fields, name, value) for name, value in given.items()}


def _list(fields: Fields, name: str) -> list[Token]:
    values = fields.values.get(name)
    return [_token(fields, name, value) for value in values] if isinstance(values, list) else []


def _declared(config: Fields) -> list[Token]:
    """Return the tokens of `added_tokens_decoder`, {"32000": {"content": "<s>", "special": true, ...}}, by id."""
    decoder = config.values["added_tokens_decoder"]
    if not isinstance(decoder, dict) or not all(number.isdecimal() for number in decoder):
        raise config.wrong("added_tokens_decoder", "an object with token ids as its keys")
    return [_token(config, f"added_tokens_decoder: {i}", decoder[i], special=False) for i in sorted(decoder, key=int)]


def _by_id(added: Fields, special: Mapping[str, Token]) -> dict[str, Token]:
    """Return the tokens of added_tokens.json by id. It has no flags: a token that is not special elsewhere is text."""
    for text in added.values:
        added.integer(text, low=0, high=2**31 - 1)
    texts = sorted(added.values, key=added.values.__getitem__)
    return {text: {"content": text, "special": text in special, "normalized": text not in special} for text in texts}


def _token(fields: Fields, name: str, value: Any, special: bool = True) -> Token:
    """Return the token that a text describes, or an object with its text and flags: {"content": "<s>", "lstrip": true}.

    Args:
        fields: the file, for messages.
        name: the field, for messages.
        value: the text or the object.
        special: whether the token is special in any case. If not, only the object's flag decides.
    """
    values = {"content": value} if isinstance(value, str) else value
    if not isinstance(values, dict) or not isinstance(content := values.get("content"), str) or not is_utf8(content):
        raise ValueError(f"{fields.source}: {name} is {short(value)}; expected a text, or an object with it as content")
    flags = {flag: values[flag] for flag in FLAGS if flag in values}
    if not all(isinstance(flag, bool) for flag in flags.values()):
        raise ValueError(f"{fields.source}: {name} is {short(value)}; expected true or false for {', '.join(FLAGS)}")
    special = special or flags.get("special", False)
    return {"content": content, "normalized": not special, **flags, "special": special}
