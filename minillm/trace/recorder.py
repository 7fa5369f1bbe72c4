"""Recorder: hears the events of a run, and makes of them the lines of a trace.

The events name objects: a request is its `Completion`, a sequence's memory its cache. The recorder numbers them in
order of appearance, so that a trace is the same on every machine. A recording may begin in the middle of a run: a
request or table that was not told of is described when it appears.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from minillm import events
from minillm.completion import Completion
from minillm.events import Event, PassBegun, Rows
from minillm.model import Model
from minillm.trace.block_lines import BlockLines
from minillm.trace.choices import chosen_line, rounded, unseen_line
from minillm.trace.lines import admit_line, model_line, phase_of, request_line
from minillm.trace.numbers import Numbers
from minillm.trace.pending import Pending
from minillm.trace.sources import source_of_event
from minillm.trace.texts import TokenTexts, tokens_of
from minillm.trace.work import pass_work

Line = dict[str, Any]


class Recorder:
    """Turns events into lines, and hands them to `write`, step by step.

    Attributes:
        model: the model that answers; None before its first pass.
        requests: the completions that appeared, by number.
        problem: why the recording stopped before its end; "" while it goes on.
    """

    def __init__(self, write: Callable[[Line], None], detail: str, times: bool) -> None:
        self._write, self._detail, self._times = write, detail, times
        self._started = self._began = perf_counter()
        self._pending = Pending()
        self.requests, self._tables, self._groups, self._draft_models = Numbers(), Numbers(), Numbers(), Numbers()
        self.model: Model | None = None
        self.problem = ""
        self._texts, self._told = TokenTexts(None), {"model", "pool"}
        self._sources: dict[str, str] = {}  # where lines are told whose kind is new
        self._blocks = BlockLines(self._tables)
        self._owners: dict[int, int] = {}  # the request of each cache, by identity of the cache
        self._naive: set[int] = set()  # running requests without a cache
        self._preempted: set[int] = set()  # requests that ever were
        self._pass: PassBegun | None = None
        self._drawn: events.Drawn | None = None
        self._judged: list[Line] = []
        self._drafted: list[tuple[Rows, Line]] = []  # rows of draft models whose request is not known yet
        self._chosen: Line = {}  # the last choice

    def hear(self, event: Event) -> None:
        """Take one event."""
        if not self.problem:
            kind = type(event).__name__
            hear = getattr(self, f"_hear_{kind}", self._hear_block if kind.startswith("Block") else None)
            if hear:
                hear(event)

    def close(self) -> None:
        """Write the lines that wait."""
        for line in self._pending.take():
            source = line.get("do", line["t"])
            if at := self._sources.pop(source, ""):
                self._write({"t": "source", "s": line["s"], "of": source, "at": at})
            if named := self._texts.line(line["s"], tokens_of(line)):
                self._write(named)
            self._write(line)

    @property
    def step(self) -> int:
        """The step that a line belongs to now."""
        return self._pending.now

    def _add(self, line: Line) -> None:
        """Append a line. For the first of its kind, note where in the code it is told."""
        source = line.get("do", line["t"])
        if source not in self._told:
            self._told.add(source)
            self._sources[source] = source_of_event()
        self._pending.add_pass(line) if line.get("model") == 0 else self._pending.add(line)

    # requests

    def _hear_Submitted(self, event: events.Submitted) -> None:
        self._number(event.request, event.group)

    def _hear_Admitted(self, event: events.Admitted) -> None:
        number, cache = self._number(event.request), event.cache
        table = None if cache is None else self._tables.of(cache)
        if cache is None:
            self._naive.add(number)
        else:
            self._owners[id(cache)] = number
        known = {"known": event.known_tokens, "restored": event.restored_tokens}
        self._add(admit_line(number, table, cache) | known | {"resumed": number in self._preempted})

    def _hear_Preempted(self, event: events.Preempted) -> None:
        number = self._number(event.request)
        self._preempted.add(number)
        tables = [self._tables.of(cache) for cache in self._tables.objects if self._owners.get(id(cache)) == number]
        self._add(
            {"t": "preempt", "id": number, "swapped": event.swapped_tokens, "table": tables[-1] if tables else None}
        )

    def _hear_Finished(self, event: events.Finished) -> None:
        number = self._number(event.request)
        self._naive.discard(number)
        self._add({"t": "finish", "id": number, "why": event.reason})

    def _number(self, request: object, group: object = None) -> int:
        """Return the number of a request; describe it first if it is new."""
        assert isinstance(request, Completion)
        if request not in self.requests:
            grouped = None if group is None else self._groups.of(group)
            self._add(request_line(self.requests.of(request), request, grouped))
        return self.requests.of(request)

    # passes

    def _hear_PassBegun(self, event: PassBegun) -> None:
        self._pass, self._began = event, perf_counter()
        if self._answers(event):
            self._drawn = None
            self._meet(event.model)

    def _hear_PassEnded(self, event: events.PassEnded) -> None:
        begun, self._pass = self._pass, None
        if begun is None or self.problem:  # None: the recording began within the pass
            return
        line = self._pass_line(begun)
        self._add(line)
        if line["model"]:
            return
        self._drafted.clear()
        self.close()

    def _answers(self, begun: PassBegun) -> bool:
        """Whether this is a pass of the model that answers, and not of a draft model.

        The caches of a draft model are told of nowhere else.
        """
        caches = [rows.cache for rows in begun.sequences]
        known = any(id(cache) in self._owners for cache in caches)
        paged = any(hasattr(cache, "pool") for cache in caches)
        return known or paged or self.model is None or bool(self._naive) or not self._owners

    def _meet(self, model: object) -> None:
        """Describe the model that answers. A trace is of one such model."""
        assert isinstance(model, Model)
        if self.model is None:
            self.model, self._texts = model, TokenTexts(model.stored_tokenizer)
            self._pending.lines.insert(0, {"t": "model", "s": self._pending.step, **_without_t(model_line(0, model))})
        elif model is not self.model:
            self.problem = f"a trace is of one model, and {model.name} runs after {self.model.name}"

    def _pass_line(self, begun: PassBegun) -> Line:
        answers, work, now = self._answers(begun), pass_work(begun), perf_counter()
        number = 0 if answers else self._draft_model(begun.model)
        line: Line = {"t": "pass", "model": number, "rows": [self._row(each, answers) for each in begun.sequences]}
        line |= {"flops": int(work.flops), "weight_bytes": int(work.weight_bytes), "cache_bytes": int(work.cache_bytes)}
        if self._times:
            line |= {"began": rounded(self._began - self._started), "took": rounded(now - self._began)}
        return line

    def _draft_model(self, model: object) -> int:
        assert isinstance(model, Model)
        if model not in self._draft_models:
            self._add(model_line(1 + self._draft_models.of(model), model))
        return 1 + self._draft_models.of(model)

    def _row(self, rows: Rows, answers: bool) -> Line:
        number = self._owners.get(id(rows.cache))
        if answers and number is None and self._naive:
            number = max(self._naive)
        row = {
            "id": number,
            "phase": "draft",
            "first": rows.first,
            "count": len(rows.tokens),
            "logits": rows.logit_rows,
        }
        if answers:
            completion = None if number is None else self.requests.objects[number]
            row["phase"] = phase_of(rows, completion, number in self._naive, number in self._preempted)
        else:
            self._drafted.append((rows, row))
        return row

    def _hear_StepEnded(self, event: events.StepEnded) -> None:
        self._add(
            {
                "t": "step",
                "prefill": event.prefill_tokens,
                "decode": event.decode_tokens,
                "draft": event.draft_tokens,
                "budget": event.budget,
                "running": event.running,
                "waiting": event.waiting,
                "used": event.used_blocks,
                "entries": event.table_blocks,
                "filled": event.filled_slots,
            }
        )

    def _hear_block(self, event: Event) -> None:
        for line in self._blocks.lines(event):
            self._add(line)

    # tokens

    def _hear_Drawn(self, event: events.Drawn) -> None:
        self._drawn = event

    def _hear_TokenChosen(self, event: events.TokenChosen) -> None:
        number, drawn, self._drawn = self._number(event.request), self._drawn, None
        chosen = {"t": "choice", "id": number, "token": event.token, "text": event.text, "origin": event.origin}
        candidates = unseen_line() if self._detail == "tokens" else chosen_line(event, drawn)
        self._chosen = chosen | {"why": event.finish_reason} | candidates
        self._add(self._chosen)

    def _hear_DraftProposed(self, event: events.DraftProposed) -> None:
        number, probs = self._number(event.request), event.probs
        for rows, row in self._drafted:
            row["id"] = number
        self._drafted.clear()
        self._drawn = None
        q = None if probs is None else [rounded(float(p[x])) for p, x in zip(probs, event.tokens, strict=False)]
        self._add({"t": "draft", "id": number, "tokens": list(event.tokens), "q": q})

    def _hear_DraftJudged(self, event: events.DraftJudged) -> None:
        judged = {"token": event.token, "p": rounded(event.p), "q": rounded(event.q), "r": rounded(event.number)}
        self._judged.append(judged | {"accepted": event.accepted})

    def _hear_DraftVerified(self, event: events.DraftVerified) -> None:
        judged, self._judged = self._judged, []
        then = "" if self._chosen["origin"] == "accepted" else self._chosen["origin"]
        line = {"t": "verdict", "id": self._number(event.request), "tokens": judged, "then": then}
        self._add(line | {"token": self._chosen["token"] if then else None})


def _without_t(line: Line) -> Line:
    return {name: value for name, value in line.items() if name != "t"}
