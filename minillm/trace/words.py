"""Words: what a step did, in a few short sentences, for readers and for screen readers.

Prefill: 5 tokens of the prompt run in one pass. The next token is " P" (97%).
Decode: one token runs at position 5. The next token is "aris" (100%).
"""

import json
from collections import Counter
from typing import Any

from minillm.support.wording import counted
from minillm.trace.reader import Trace

Line = dict[str, Any]
REASONS = {
    "eos": "an end-of-sequence token came",
    "stop": "a stop text came",
    "length": "it has its maximum of tokens",
    "cancelled": "it was cancelled",
}
DOES = {  # of a request in a pass, and of several
    "prefill": ("prefills", "prefill"),
    "chunk": ("runs a chunk of its prompt", "run chunks of their prompts"),
    "decode": ("decodes", "decode"),
    "verify": ("verifies a draft", "verify drafts"),
    "recompute": ("is recomputed", "are recomputed"),
    "naive": ("runs without a cache", "run without a cache"),
}
FEW = 4  # requests whose tokens are named


def sentences(trace: Trace) -> list[str]:
    """Return the text of each step, from 0."""
    return [step_in_words(trace, step) for step in range(len(trace.states.steps))]


def step_in_words(trace: Trace, step: int) -> str:
    """Return what a step did."""
    lines = trace.states.steps[step]
    if step == 0:
        return _beginning(_of(lines, "request"))
    alone = len(trace.states.last["requests"]) == 1
    parts = [*_preparation(lines, alone), *_passes(lines, alone), *_tokens(trace, lines), *_ends(lines, alone)]
    parts += [f"Request {letter(line['id'])} joins the queue." for line in _of(lines, "request")]
    return " ".join(parts) or "The run was interrupted before the pass of this step."


def quoted(trace: Trace, token: int) -> str:
    """Return the text of a token in quotes, with escapes for line ends; its number if the text is not known."""
    text = trace.texts.get(token)
    return f"token {token}" if text is None else json.dumps(text, ensure_ascii=False)


def letter(request: int) -> str:
    """Return the letters that stand for a request: A to Z, then AA.

    Example:
        >>> from minillm.trace.words import letter
        >>> letter(0), letter(25), letter(26)
        ('A', 'Z', 'AA')
    """
    last = chr(ord("A") + request % 26)
    return last if request < 26 else letter(request // 26 - 1) + last


def _of(lines: list[Line], kind: str, field: str = "t") -> list[Line]:
    return [line for line in lines if line.get(field) == kind]


def _are(count: int, noun: str) -> str:
    return f"{counted(count, noun)} {'is' if count == 1 else 'are'}"


def _beginning(requests: list[Line]) -> str:
    if len(requests) == 1:
        return f"The prompt has {counted(len(requests[0]['prompt']), 'token')}. Nothing has run."
    if not requests:
        return "Nothing has run."
    sizes = ", ".join(str(len(request["prompt"])) for request in requests[:8]) + ", ..." * (len(requests) > 8)
    return f"{counted(len(requests), 'request')} wait. Tokens in their prompts: {sizes}. Nothing has run."


def _preparation(lines: list[Line], alone: bool) -> list[str]:
    """Return what happened before the pass: to requests and blocks, and drafts."""
    parts = [_preemption(line) for line in _of(lines, "preempt")]
    parts += [_admission(line) for line in _of(lines, "admit") if not alone or line["known"]]
    parts += [
        f"Block {line['from']} is shared and has to be written, so it is copied to block {line['blocks'][0]}."
        for line in _of(lines, "copy", "do")
    ]
    evicted = sum(len(line["blocks"]) for line in _of(lines, "evict", "do"))
    drafted = sum(len(line["tokens"]) for line in _of(lines, "draft"))
    parts += [f"{_are(evicted, 'cached block')} evicted."] if evicted else []
    return [*parts, f"{_are(drafted, 'draft token')} proposed."] if drafted else parts


def _preemption(line: Line) -> str:
    tokens = f"{_are(line['swapped'], 'token')} copied out" if line["swapped"] else "its tokens will be recomputed"
    return f"Blocks ran out: request {letter(line['id'])} is preempted, and {tokens}."


def _admission(line: Line) -> str:
    begins = f"Request {letter(line['id'])} {'resumes' if line['resumed'] else 'begins'}"
    known = [f"{counted(line['known'], 'token')} already cached"] if line["known"] else []
    known += [f"{counted(line['restored'], 'token')} copied back"] if line["restored"] else []
    return f"{begins}, with {' and '.join(known)}." if known else f"{begins}."


def _passes(lines: list[Line], alone: bool) -> list[str]:
    """Return what the pass of the model that answers ran."""
    rows = [row for line in _of(lines, "pass") if line["model"] == 0 for row in line["rows"]]
    if not rows:
        return []
    if len(rows) == 1:
        whose = "" if alone or rows[0]["id"] is None else f"Request {letter(rows[0]['id'])}, "
        runs = _single(rows[0])
        return [f"{whose}{runs}" if whose else runs[0].upper() + runs[1:]]
    does = Counter(row["phase"] for row in rows)
    each = ", ".join(f"{count} {DOES[phase][count > 1]}" for phase, count in does.items())
    tokens = counted(sum(row["count"] for row in rows), "token")
    return [f"One pass runs {tokens} of {counted(len(rows), 'request')}: {each}."]


def _single(row: Line) -> str:
    """Return what a pass of one request runs."""
    first, count, tokens = row["first"], row["count"], counted(row["count"], "token")
    run = "runs" if count == 1 else "run"
    match row["phase"]:
        case "prefill":
            return f"prefill: {tokens} of the prompt {run} in one pass."
        case "chunk":
            return f"prefill: a chunk of the prompt runs, tokens {first} to {first + count - 1}."
        case "verify":
            return f"verification: one pass runs {tokens}."
        case "recompute":
            return f"recomputation: {tokens} {run} again, because their keys and values were given up."
        case "naive":
            return f"naive decoding: {'the one token' if count == 1 else f'all {tokens}'} {run}, without a cache."
    return f"decode: one token runs at position {first}."


def _tokens(trace: Trace, lines: list[Line]) -> list[str]:
    """Return which tokens came of the pass."""
    choices, verdicts = _of(lines, "choice"), _of(lines, "verdict")
    requests = list(dict.fromkeys(line["id"] for line in choices))
    if len(requests) <= 1:
        parts = [_verdict(trace, line) for line in verdicts]
        return parts or [_choice(trace, line) for line in choices]
    if len(requests) > FEW:
        return [f"{counted(len(choices), 'new token')}."]
    new = [[quoted(trace, line["token"]) for line in choices if line["id"] == number] for number in requests]
    each = [f"{' '.join(tokens)} of request {letter(number)}" for number, tokens in zip(requests, new, strict=True)]
    return [f"New tokens: {', '.join(each)}."]


def _choice(trace: Trace, line: Line) -> str:
    drawn = line["number"] is not None
    probability = [f" ({p:.0%})" for token, p in line["after" if drawn else "before"] if token == line["token"]]
    return f"{'A draw gives' if drawn else 'The next token is'} {quoted(trace, line['token'])}{''.join(probability)}."


def _verdict(trace: Trace, line: Line) -> str:
    judged = line["tokens"]
    accepted = sum(one["accepted"] for one in judged)
    if line["then"] == "corrected":
        rejected, token = quoted(trace, judged[-1]["token"]), quoted(trace, line["token"])
        before = f"{_are(accepted, 'draft token')} accepted, then" if accepted else "The first draft token,"
        return f"{before} {rejected}{' is' if accepted else ', is'} rejected: {token} takes its place."
    bonus = f" {quoted(trace, line['token'])} is a bonus." if line["token"] is not None else ""
    if bonus and accepted == 2:
        return f"Both draft tokens are accepted.{bonus}"
    return f"{'All ' if bonus and accepted > 1 else ''}{_are(accepted, 'draft token')} accepted.{bonus}"


def _ends(lines: list[Line], alone: bool) -> list[str]:
    return [
        f"{'The answer' if alone else 'Request ' + letter(line['id'])} ends: {REASONS.get(line['why'], line['why'])}."
        for line in _of(lines, "finish")
    ]
