"""The fields of a request, as clients of several programs write them, in the names and values of minillm.

Null means "not given", for every field. A field of another program that minillm has by another name gets that name. One
that minillm does not have is accepted with the value that changes nothing, and refused by name with any other.

    {"max_tokens": 5, "temperature": null, "n": 1, "stream": false}     becomes     {"max_new_tokens": 5}

The body of a line of OpenAI's batch format is such a request; its `custom_id` is the `id`.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from minillm.loading.generation_config import NEUTRAL as GENERATION_NEUTRAL
from minillm.loading.generation_config import SAMPLED
from minillm.support.checks import check_integer, shown

OTHER_NAMES = {  # of fields in OpenAI's API, llama.cpp, Ollama, Anthropic's API and transformers
    "max_tokens": "max_new_tokens",
    "max_completion_tokens": "max_new_tokens",
    "n_predict": "max_new_tokens",
    "num_predict": "max_new_tokens",
    "temp": "temperature",
    "repeat_penalty": "repetition_penalty",
    "stop_sequences": "stop",
    "stop_strings": "stop",
    "custom_id": "id",
}
NEUTRAL: dict[str, tuple[Any, ...]] = {  # the values with which minillm's answer is the one that is asked for
    **GENERATION_NEUTRAL,
    **SAMPLED,
    "n": (1,),
    "best_of": (1,),
    "num_return_sequences": (1,),
    "stream": (False,),
    "stream_options": (),
    "echo": (False,),
    "suffix": ("",),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({}, []),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    # of vLLM
    "use_beam_search": (False,),
    "length_penalty": (1,),
    "early_stopping": (False,),
    "min_tokens": (0,),
    "stop_token_ids": ([],),
    "bad_words": ([],),
    "skip_special_tokens": (True,),
    "include_stop_str_in_output": (False,),
    "add_special_tokens": (True,),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    # of llama.cpp and Ollama
    "tfs_z": (1,),
    "mirostat": (0,),
    "dynatemp_range": (0,),
    "dry_multiplier": (0,),
    "xtc_probability": (0,),
    "repeat_last_n": (-1,),
    "min_keep": (0,),
    "n_probs": (0,),
    "grammar": ("",),
    "format": ("",),
    "system": ("",),
    "template": ("",),
    "raw": (False,),
}
WITHOUT_EFFECT = frozenset(
    "user metadata store service_tier parallel_tool_calls safety_identifier cache_prompt keep_alive use_cache "
    # settings of methods that are off
    "mirostat_tau mirostat_eta dynatemp_exponent dry_base dry_allowed_length dry_penalty_last_n dry_sequence_breakers "
    "xtc_threshold".split()
)
URLS = ("/v1/chat/completions", "/v1/completions")
MOST_LOGPROBS = 20  # of a request in a file: an answer has to fit into a line


def normal_fields(values: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields that are given, by minillm's names.

    Args:
        values: the fields as a client wrote them, or a line of OpenAI's batch format.
        known: minillm's names of the fields that may come.

    Raises:
        ValueError: an unknown name, two names for one field, or a wish that minillm does not have.
    """
    given = {name: value for name, value in _unwrapped(values).items() if value is not None}
    fields = dict[str, Any]()
    for name, value in given.items():
        own = OTHER_NAMES.get(name, name)
        if own in known or own in ("top_logprobs", "do_sample"):
            if own in fields and fields[own] != value:
                raise ValueError(f"{own} is given twice, by two names; leave one of them out")
            fields[own] = value
        elif name not in WITHOUT_EFFECT:
            _check_neutral(name, value, known)
    return _with_logprobs(fields)


def with_do_sample(fields: dict[str, Any], temperature: float) -> dict[str, Any]:
    """Return the fields with `do_sample` as a temperature: false is 0, and true agrees with any other.

    Args:
        fields: by minillm's names.
        temperature: what holds where the fields have none.

    Raises:
        ValueError: `do_sample` contradicts the temperature.
    """
    rest = {name: value for name, value in fields.items() if name != "do_sample"}
    if "do_sample" not in fields:
        return rest
    samples, given = fields["do_sample"], rest.get("temperature")
    if type(samples) is not bool:
        raise ValueError(f"do_sample is {shown(samples)}; expected true or false")
    if not samples and given is None:
        return rest | {"temperature": 0}
    used = temperature if given is None else given
    if samples == (used == 0):
        what = "give a temperature above 0" if given is None else "leave one of them out"
        raise ValueError(f"do_sample is {samples}, but temperature is {shown(used)}; {what}")
    return rest


def _unwrapped(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request of a line of OpenAI's batch format, and any other line unchanged."""
    body = values.get("body")
    if body is None:
        return dict(values)
    if not isinstance(body, Mapping):
        raise ValueError(f"body is {shown(body)}; expected an object of fields")
    other = values.keys() - {"custom_id", "method", "url", "body"}
    if other:
        raise ValueError(f"unknown name {min(other)[:40]!r}; expected only custom_id, method and url next to body")
    if values.get("url", URLS[0]) not in URLS:
        raise ValueError(f"url is {shown(values['url'])}; expected {' or '.join(URLS)}")
    if values.get("method", "POST") != "POST":
        raise ValueError(f"method is {shown(values['method'])}; expected 'POST'")
    return {**body, "id": values.get("custom_id", body.get("id"))}


def _check_neutral(name: str, value: Any, known: tuple[str, ...]) -> None:
    if name not in NEUTRAL:
        near = did_you_mean(name, known)
        raise ValueError(f"unknown name {name[:40]!r}{near} (expected some of {', '.join(known)})")
    if not any(value == neutral for neutral in NEUTRAL[name]):
        raise ValueError(f"{name} is {shown(value)}, which minillm does not have; leave it out")


def _with_logprobs(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields with `logprobs` as a number: {"logprobs": true, "top_logprobs": 3} asks for the 3 best."""
    best, wish = fields.pop("top_logprobs", None), fields.pop("logprobs", None)
    if wish is False or (wish is None and best is None):
        return fields
    number = wish if wish is not None and wish is not True else 0 if best is None else best
    return fields | {"logprobs": check_integer("logprobs", number, 0, MOST_LOGPROBS)}


def did_you_mean(word: str, known: tuple[str, ...]) -> str:
    """Return "; did you mean ...?" if one of the known words is near, or another program's word for one of them.

    >>> did_you_mean("max_tokens", ("max_new_tokens",)), did_you_mean("x", ("seed",))
    ('; did you mean max_new_tokens?', '')
    """
    other = OTHER_NAMES.get(word)
    near = [other] if other in known else get_close_matches(word, known, 1, 0.75)
    return f"; did you mean {near[0]}?" if near else ""
