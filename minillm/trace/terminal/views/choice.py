"""The choice: the candidates for a token, what temperature and filters left of them, and the number that was drawn."""

from rich.text import Text

from minillm.support.wording import rounded
from minillm.trace.state import Line
from minillm.trace.terminal.amounts import bar, percent
from minillm.trace.terminal.layout import columns, folded, needle, whose
from minillm.trace.terminal.moment import Moment

SHOWN, SHOWN_OF_SEVERAL = 8, 3  # candidates of a choice, and of each if a step has several
FATE, P = 15, 9  # columns of what became of a candidate, and of a probability
WIDE = 60  # columns with room for what became of each


def draw(moment: Moment) -> list[Text]:
    """Return the choices of this step: those of one request."""
    choices = [line for line in moment.of("choice") if line["before"]]
    if not choices and moment.trace.header["detail"] == "tokens":
        return [Text("No candidates were recorded."), Text("To record them: --detail choices")]
    if not choices:
        return [Text("No token was chosen in this step." if moment.step else "Nothing has been chosen.")]
    requests = list(dict.fromkeys(line["id"] for line in choices))
    chosen = moment.chosen(requests)
    own = [line for line in choices if line["id"] == chosen]
    shown = SHOWN if len(own) == 1 else SHOWN_OF_SEVERAL
    return [
        *whose(chosen, requests, moment.width),
        *(line for choice in own for line in _choice(moment, choice, shown)),
    ]


def _choice(moment: Moment, choice: Line, shown: int) -> list[Text]:
    """Return a choice: the way from all tokens to one, the candidates, and the number."""
    sampling = moment.trace.requests[choice["id"]]["sampling"]
    stages = folded(_stages(moment, choice, sampling), moment.width, style="")
    return [*stages, *_candidates(moment, choice, sampling, shown), *_draw(moment, choice)]


def _stages(moment: Moment, choice: Line, sampling: Line) -> list[str]:
    vocabulary = moment.trace.states.models[0]["config"]["vocab_size"]
    stages = [f"{vocabulary:,} logits"]
    if sampling["repetition_penalty"] != 1:
        stages.append(f"repetition penalty {rounded(sampling['repetition_penalty'])}")
    if sampling["temperature"] == 0:
        return [*stages, "temperature 0: take the largest"]
    stages.append(f"temperature {rounded(sampling['temperature'])}")
    stages += [f"top-k {sampling['top_k']}"] if sampling["top_k"] else []
    stages += [f"top-p {rounded(sampling['top_p'])}"] if sampling["top_p"] < 1 else []
    stages += [f"min-p {rounded(sampling['min_p'])}"] if sampling["min_p"] else []
    return [*stages, "1 candidate is left" if choice["kept"] == 1 else f"{choice['kept']:,} candidates are left"]


def _candidates(moment: Moment, choice: Line, sampling: Line, shown: int) -> list[Text]:
    """Return a row for each of the most probable tokens, and the one that was taken, with bars before and after."""
    before, after = dict(choice["before"]), dict(choice["after"])
    tokens = list(dict.fromkeys([*before, *after]))
    tokens = [token for place, token in enumerate(tokens) if place < shown or token == choice["token"]]
    fate_columns = FATE if moment.width >= WIDE else 2
    name = min(16, moment.width // 5)
    length = (moment.width - name - fate_columns - 2 * P) // 2 - 1
    longest = max([*before.values(), *after.values()])
    said = "what q left of p" if choice["origin"] == "corrected" else "after the filters"
    names = ("the model says", said) if P + length > len(said) + 5 else ("before", "after")
    rows = [columns(("", name, ""), *((f"{'':5}{words}", P + length + 1, "dim") for words in names))]
    for token in tokens:
        taken = token == choice["token"]
        cells = [(moment.token(token), name, "bold" if taken else "")]
        for probabilities, style in ((before, "cyan"), (after, "green")):
            p = probabilities.get(token, 0.0)
            cells += [(f"{percent(p) if p else '–':>{P - 1}} ", P, ""), (bar(p / longest, length), length + 1, style)]
        said = f"{'◀ ' if taken else ''}{fate(token, choice, sampling)}"
        rows.append(columns(*cells, (said[:fate_columns], fate_columns, "bold" if taken else "dim")))
    return rows


def fate(token: int, choice: Line, sampling: Line) -> str:
    """Return what became of a candidate; "" if it was left and not drawn.

    Min-p compares with the best, which two probabilities suffice to tell. What is left was cut by top-p.
    """
    before = dict(choice["before"])
    if token == choice["token"]:
        return "draft token" if choice["origin"] == "accepted" else "taken"
    if token in dict(choice["after"]):
        return ""
    if sampling["temperature"] == 0:
        return "less probable"
    if choice["origin"] == "corrected" or sampling["repetition_penalty"] != 1 or token not in before:
        return "cut"
    if sampling["top_k"] and list(before).index(token) >= sampling["top_k"]:
        return "cut by top-k"
    ratio = (before[token] / choice["before"][0][1]) ** (1 / sampling["temperature"])
    return "cut by min-p" if ratio < sampling["min_p"] else "cut by top-p" if sampling["top_p"] < 1 else "cut"


def _draw(moment: Moment, choice: Line) -> list[Text]:
    """Return the numbers from 0 to 1, of which each candidate has a share, and where the drawn number fell."""
    number, low, share = choice["number"], choice["low"], dict(choice["after"]).get(choice["token"])
    if number is None or low is None or share is None:
        return []
    length, high = moment.width - 4, min(1.0, low + share)
    first, last, at = (max(0, min(length - 1, int(end * length))) for end in (low, high, number))
    line = Text("0 ") + Text("·" * first, "dim") + Text("█" * (last - first + 1), "green")
    line += Text("·" * (length - 1 - last), "dim") + Text(" 1")
    said = f"{rounded(number)} is drawn; {rounded(low)} to {rounded(high)} is {moment.token(choice['token'])}"
    return [line, *needle(2 + at, said, moment.width)]
