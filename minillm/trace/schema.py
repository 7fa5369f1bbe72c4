"""The format of a trace, version 1: JSON lines, one object a line, in the order in which things happened.

    {"t":"header","format":"minillm-trace","version":1,"detail":"choices","clock":"steps"}
    {"t":"model","s":0,"model":0,"name":"story", ...}
    {"t":"request","s":0,"id":0,"prompt":[470,744,350,1826,328], ...}
    {"t":"admit","s":1,"id":0,"table":0,"kind":"contiguous","capacity":7, ...}
    {"t":"pass","s":1,"model":0,"rows":[{"id":0,"phase":"prefill","first":0,"count":5,"logits":1}], ...}
    {"t":"choice","s":1,"id":0,"token":379,"text":" P", ...}
    {"t":"pass","s":2, ...}

`t` is the kind of a line, and `s` its step. A *step* is one forward pass of the model that answers, model 0: the lines
that prepared it, the pass, and the lines that came of it. Step 0 has no pass: it holds what was there before the first.
Steps never decrease from line to line. If a run was interrupted, the last step may lack its pass, and the line `end` is
missing. Requests, tables, pools and models are numbered from 0, by first appearance.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minillm.support.checks import shown

FORMAT, VERSION = "minillm-trace", 1
DETAILS = ("tokens", "choices", "attention")  # each has what those before it have
CLOCKS = ("steps", "seconds")
PHASES = ("prefill", "chunk", "decode", "verify", "recompute", "naive", "draft")
BLOCK_ACTIONS = ("take", "hit", "share", "copy", "release", "publish", "unpublish", "evict")
SOURCE_FORM = r"[\w./-]{1,200}:\d{1,7}"
MOST = 2**53  # integers below it are exact in JavaScript
LARGEST, MOST_LINES, LONGEST_LINE = 32_000_000, 200_000, 4_000_000  # of a file: bytes, lines, bytes of a line


@dataclass(frozen=True)
class Type:
    """The values that a field may have, and how a message or a page calls them."""

    words: str
    fits: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return (type(value) is int and abs(value) < MOST) or (type(value) is float and math.isfinite(value))


INTEGER = Type("integer", lambda value: type(value) is int and 0 <= value < MOST)
POSITIVE = Type("integer of at least 1", lambda value: type(value) is int and 0 < value < MOST)
NUMBER = Type("number", _is_number)
PROBABILITY = Type("number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
SECONDS = Type("number from 0 to 1,000,000,000", lambda value: _is_number(value) and 0 <= value <= 1e9)
TEXT = Type("text", lambda value: type(value) is str)
SOURCE = Type("text such as minillm/prefill.py:45", lambda v: type(v) is str and bool(re.fullmatch(SOURCE_FORM, v)))
BOOL = Type("true or false", lambda value: type(value) is bool)


def optional(kind: Type) -> Type:
    """Return the type that is also null."""
    return Type(f"{kind.words} or null", lambda value: value is None or kind.fits(value))


def one_of(*texts: str) -> Type:
    """Return the type of these texts."""
    return Type(", ".join(f'"{text}"' for text in texts), lambda value: type(value) is str and value in texts)


def list_of(kind: Type) -> Type:
    """Return the type of a list."""
    return Type(f"list of {kind.words}", lambda value: type(value) is list and all(map(kind.fits, value)))


def pair_of(first: Type, second: Type) -> Type:
    """Return the type of a list of two."""
    words = f"[{first.words}, {second.words}]"
    return Type(
        words, lambda value: type(value) is list and len(value) == 2 and first.fits(value[0]) and second.fits(value[1])
    )


def record_of(**fields: Type) -> Type:
    """Return the type of an object with exactly these fields."""
    words = "{" + ", ".join(f"{name}: {kind.words}" for name, kind in fields.items()) + "}"
    return Type(
        words,
        lambda value: (
            type(value) is dict
            and value.keys() == fields.keys()
            and all(kind.fits(value[name]) for name, kind in fields.items())
        ),
    )


CONFIG = record_of(
    vocab_size=POSITIVE,
    hidden_size=POSITIVE,
    intermediate_size=POSITIVE,
    num_hidden_layers=INTEGER,
    num_attention_heads=POSITIVE,
    num_key_value_heads=POSITIVE,
    head_dim=POSITIVE,
    max_position_embeddings=POSITIVE,
    tie_word_embeddings=BOOL,
    sliding_windows=list_of(optional(POSITIVE)),
)
SAMPLING = record_of(
    temperature=NUMBER,
    top_k=optional(INTEGER),
    top_p=NUMBER,
    min_p=NUMBER,
    repetition_penalty=NUMBER,
    seed=optional(INTEGER),
    stop=list_of(TEXT),
    ignore_eos=BOOL,
)
ROW = record_of(id=optional(INTEGER), phase=one_of(*PHASES), first=INTEGER, count=POSITIVE, logits=INTEGER)
JUDGED = record_of(token=INTEGER, p=PROBABILITY, q=PROBABILITY, r=PROBABILITY, accepted=BOOL)
CANDIDATES = Type(
    "list of [token, probability], most probable first",
    lambda value: list_of(pair_of(INTEGER, PROBABILITY)).fits(value) and (not value or value[0][1] > 0),
)
TOKENS = list_of(INTEGER)
AT_MOST = 10_000_000  # blocks or slots: more cannot be drawn
COUNT = Type("integer from 0 to 10,000,000", lambda value: INTEGER.fits(value) and value <= AT_MOST)


@dataclass(frozen=True)
class Field:
    """A field of a line: its type, what it means, and whether a line may lack it."""

    type: Type
    meaning: str
    may_lack: bool = False


STEP = {"s": Field(INTEGER, "the step")}
ID = {"id": Field(INTEGER, "the request")}
KINDS: dict[str, dict[str, Field]] = {
    "header": {
        "format": Field(one_of(FORMAT), "what the file is"),
        "version": Field(INTEGER, "of the format"),
        "detail": Field(one_of(*DETAILS), "what was recorded: each has what those before it have"),
        "clock": Field(one_of(*CLOCKS), "with seconds, passes have times"),
    },
    "model": STEP
    | {
        "model": Field(INTEGER, "its number; 0 is the model that answers, others draft"),
        "name": Field(TEXT, "as given to load"),
        "backend": Field(TEXT, "what computes"),
        "dtype": Field(TEXT, "of activations and caches"),
        "weights": Field(TEXT, "the format of the matrices"),
        "config": Field(CONFIG, "the architecture, as in ModelConfig"),
    },
    "source": STEP
    | {
        "of": Field(TEXT, "a kind of line, or an action of a block line"),
        "at": Field(SOURCE, "the file and line that tells it"),
    },
    "tokens": STEP
    | {
        "texts": Field(list_of(pair_of(INTEGER, TEXT)), "the text of each token that the next lines name first"),
        "bytes": Field(list_of(pair_of(INTEGER, TEXT)), "of those that are not text alone: their bytes, hexadecimal"),
    },
    "request": STEP
    | ID
    | {
        "prompt": Field(TOKENS, "its tokens"),
        "max": Field(INTEGER, "the most new tokens"),
        "sampling": Field(SAMPLING, "how its tokens are chosen"),
        "group": Field(optional(INTEGER), "samples of one prompt have the same; null outside an engine"),
    },
    "admit": STEP
    | ID
    | {
        "table": Field(optional(INTEGER), "the cache or block table that holds its tokens from now on"),
        "kind": Field(one_of("contiguous", "paged", "none"), "of the cache"),
        "capacity": Field(optional(COUNT), "tokens that a contiguous cache has room for"),
        "known": Field(INTEGER, "first tokens that need not run: in known blocks, in a fork, or in the cache"),
        "restored": Field(INTEGER, "tokens after them that were swapped in"),
        "resumed": Field(BOOL, "whether it ran before, and was preempted"),
    },
    "preempt": STEP | ID | {"swapped": Field(INTEGER, "tokens that were copied out; 0: all are recomputed later")},
    "finish": STEP | ID | {"why": Field(one_of("eos", "stop", "length", "cancelled"), "the reason")},
    "pass": STEP
    | {
        "model": Field(INTEGER, "which model ran"),
        "rows": Field(
            list_of(ROW), "for each sequence: its request, what it does, position of its first token, tokens, logits"
        ),
        "flops": Field(INTEGER, "multiplications plus additions"),
        "weight_bytes": Field(INTEGER, "bytes of weights that are read"),
        "cache_bytes": Field(INTEGER, "bytes of keys and values that are read"),
        "began": Field(SECONDS, "seconds since the recording began", may_lack=True),
        "took": Field(SECONDS, "seconds of the pass", may_lack=True),
    },
    "step": STEP
    | {
        "prefill": Field(INTEGER, "tokens of prompts in the pass"),
        "decode": Field(INTEGER, "tokens that decode"),
        "draft": Field(INTEGER, "draft tokens"),
        "budget": Field(INTEGER, "the most tokens that the pass could have"),
        "running": Field(INTEGER, "requests"),
        "waiting": Field(INTEGER, "requests"),
        "used": Field(INTEGER, "blocks in at least one table"),
        "entries": Field(INTEGER, "of all tables"),
        "filled": Field(INTEGER, "tokens in used blocks; shared ones count once"),
    },
    "pool": STEP
    | {
        "first": Field(INTEGER, "number of its first block"),
        "blocks": Field(COUNT, "how many it has"),
        "size": Field(POSITIVE, "tokens in a block"),
        "bytes": Field(INTEGER, "of the keys and values of a block"),
    },
    "block": STEP
    | {
        "do": Field(one_of(*BLOCK_ACTIONS), "what happens to the blocks"),
        "table": Field(optional(INTEGER), "whose; null for unpublish and evict"),
        "blocks": Field(TOKENS, "their numbers"),
        "from": Field(optional(INTEGER), "share: the table that was forked; copy: the block that was copied"),
    },
    "choice": STEP
    | ID
    | {
        "token": Field(INTEGER, "the new token"),
        "text": Field(TEXT, "the text that it completed, often not its own"),
        "origin": Field(one_of("", "accepted", "corrected", "bonus"), "in speculation: where it comes from"),
        "why": Field(one_of("", "eos", "stop", "length"), "why it is the last one"),
        "logprob": Field(optional(NUMBER), "its log-probability, from raw logits"),
        "before": Field(CANDIDATES, "the best by raw logits, and the chosen one"),
        "after": Field(CANDIDATES, "the best after penalty, temperature and filters, and the chosen one"),
        "kept": Field(INTEGER, "tokens that passed the filters; 0 if not recorded"),
        "number": Field(optional(PROBABILITY), "the random number drawn"),
        "low": Field(optional(PROBABILITY), "where the token's share of [0, 1) begins: the number fell in it"),
    },
    "draft": STEP
    | ID
    | {
        "tokens": Field(TOKENS, "draft tokens"),
        "q": Field(optional(list_of(PROBABILITY)), "the probability that each was drawn with; null: each was certain"),
    },
    "verdict": STEP
    | ID
    | {
        "tokens": Field(list_of(JUDGED), "draft tokens judged, in order: accepted if r * q < p"),
        "then": Field(
            one_of("", "corrected", "bonus"), "what followed: a token in place of a rejected one, or one more"
        ),
        "token": Field(optional(INTEGER), "that token"),
    },
    "attention": STEP
    | ID
    | {
        "layer": Field(INTEGER, "number of the layer"),
        "head": Field(INTEGER, "number of the query head"),
        "scales": Field(list_of(PROBABILITY), "for each query, the largest weight"),
        "weights": Field(TEXT, "base64: for query i its i + 1 weights, each a byte / 255 * the query's scale"),
    },
    "end": STEP | {"lines": Field(INTEGER, "lines before this one")},
}


def check(line: Any) -> dict[str, Any]:
    """Return the line.

    Raises:
        ValueError: it is not a line of this format.
    """
    if type(line) is not dict or type(line.get("t")) is not str or line["t"] not in KINDS:
        raise ValueError(f"expected an object whose t is one of {', '.join(KINDS)}; found {shown(line)}")
    kind, fields = line["t"], KINDS[line["t"]]
    for name in line.keys() - fields.keys() - {"t"}:
        raise ValueError(f"{kind} has a field {shown(name)}, which version {VERSION} does not have")
    for name, field in fields.items():
        if name not in line and field.may_lack:
            continue
        if name not in line or not field.type.fits(line[name]):
            found = shown(line[name]) if name in line else "nothing"
            raise ValueError(f"{kind}.{name}: expected {field.type.words}; found {found}")
    return line


def table() -> str:
    """Return the schema as a Markdown table, for docs/trace.md."""
    rows = ["| line | field | type | what it is |", "|---|---|---|---|"]
    for kind, fields in KINDS.items():
        for name, field in fields.items():
            lack = "; left out without a clock of seconds" if field.may_lack else ""
            rows.append(f"| `{kind}` | `{name}` | {field.type.words} | {field.meaning}{lack} |")
    return "\n".join(rows)
