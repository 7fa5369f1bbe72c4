"""Speculation: the draft tokens of a step, how the model judged each, and what the rounds gained."""

from rich.text import Text

from minillm.support.wording import counted, rounded
from minillm.trace.state import Line
from minillm.trace.terminal.amounts import bar, percent
from minillm.trace.terminal.characters import cut
from minillm.trace.terminal.layout import needle, prose, styled, whose
from minillm.trace.terminal.moment import Moment

ROUNDS = 6  # shown of those so far
WIDE = 70  # columns with room for the chance of a draft token
NAME = 9  # columns of the name of a bar


def draw(moment: Moment) -> list[Text]:
    """Return the draft tokens of one request, what came of them, and the rounds so far."""
    verdicts = moment.of("verdict")
    if not verdicts:
        return [Text("No draft token was judged in this step." if moment.step else "Nothing has run.")]
    chosen = moment.chosen([line["id"] for line in verdicts])
    head = whose(chosen, [line["id"] for line in verdicts], moment.width)
    verdict = next(line for line in verdicts if line["id"] == chosen)
    return [*head, *_round(moment, verdict), *_outcome(moment, verdict), Text(), *_rounds(moment, chosen)]


def _drafted(moment: Moment, verdict: Line) -> list[int]:
    """Return the draft tokens of a round. Those after a rejected one are not in its verdict."""
    lines = moment.trace.states.steps[verdict["s"]]
    drafts = [line["tokens"] for line in lines if line["t"] == "draft" and line["id"] == verdict["id"]]
    judged = [one["token"] for one in verdict["tokens"]]
    return list(drafts[-1] if drafts else judged)


def _round(moment: Moment, verdict: Line) -> list[Text]:
    judged = verdict["tokens"]
    lines = list[Text]()
    for place, token in enumerate(_drafted(moment, verdict)):
        text = cut(moment.token(token), moment.width // 3)
        if place >= len(judged):
            lines.append(Text(f"draft {place + 1}  ") + Text(f"~~{text}~~", "dim strike") + Text("  – not judged"))
            continue
        accepted = judged[place]["accepted"]
        shown = Text(text, "bold green") if accepted else Text(f"~~{text}~~", "red strike")
        said = "✓ accepted" if accepted else "✗ rejected"
        lines.append(Text(f"draft {place + 1}  ") + shown + Text(f"  {said}{_chance(moment, judged[place])}"))
        lines += _bars(judged[place], moment.width)
    return lines


def _chance(moment: Moment, judged: Line) -> str:
    """Return the probability with which a draft token is accepted, where a line has room for it."""
    chance = min(1.0, judged["p"] / judged["q"]) if judged["q"] else 1.0
    return f", which had a chance of {percent(chance)}" if moment.width >= WIDE else ""


def _bars(judged: Line, width: int) -> list[Text]:
    """Return p and q as bars on one scale. The point r * q is anywhere in q's bar: if p reaches it, it is accepted."""
    p, q, point = judged["p"], judged["q"], judged["r"] * judged["q"]
    length = width - NAME - 8
    lines = [
        Text(f"{name:>{NAME - 1}} ") + Text(bar(value, length), style) + Text(f" {percent(value)}")
        for name, value, style in (("p", p, "green"), ("q", q, "magenta"), ("min(p,q)", min(p, q), "cyan"))
    ]
    said = f"r × q = {rounded(judged['r'])} × {rounded(q)} = {rounded(point)}"
    said += f" {'<' if judged['accepted'] else '>='} p"
    return [*lines, *needle(NAME + min(length - 1, int(point * length)), said, width)]


def _outcome(moment: Moment, verdict: Line) -> list[Text]:
    if verdict["token"] is None:
        return []
    why = {"bonus": "one more: all were accepted", "corrected": "drawn from what q left of p"}[verdict["then"]]
    name = {"bonus": "bonus", "corrected": "correction"}[verdict["then"]]
    token = cut(moment.token(verdict["token"]), moment.width // 3)
    return [Text(f"{name}  ") + Text(token, "bold yellow"), *prose(f"+ {why}", moment.width, 2, style="dim")]


def _rounds(moment: Moment, request: int) -> list[Text]:
    """Return a line for each of the last rounds, and what all rounds gained."""
    steps = moment.trace.states.steps[: moment.step + 1]
    verdicts = [line for lines in steps for line in lines if line["t"] == "verdict" and line["id"] == request]
    rounds = [_one_line(moment, verdict) for verdict in verdicts[-ROUNDS:]]
    judged = [one for verdict in verdicts for one in verdict["tokens"]]
    accepted = sum(one["accepted"] for one in judged)
    tokens = accepted + sum(verdict["token"] is not None for verdict in verdicts)
    gained = f"{accepted} of {counted(len(judged), 'judged draft token')} accepted"
    passes = counted(len(verdicts), "pass", "passes")
    said = f"{gained}; {counted(tokens, 'token')} in {passes}: {tokens / len(verdicts):.1f} a pass"
    return [*rounds, *prose(said, moment.width)]


def _one_line(moment: Moment, verdict: Line) -> Text:
    accepted = sum(one["accepted"] for one in verdict["tokens"])
    rejected = len(verdict["tokens"]) - accepted
    unused = len(_drafted(moment, verdict)) - len(verdict["tokens"])
    sign = "+" if verdict["token"] is not None else ""
    tokens = counted(accepted + len(sign), "token")
    signs = f"{'✓' * accepted}{'✗' * rejected}{'–' * unused}{sign}"
    return styled(f"step {verdict['s']:<4} ", "dim") + Text(f"{signs:<8} {tokens}")
