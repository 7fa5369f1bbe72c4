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
from minillm.kv_cache.cache import Cache
from minillm.model import Model
from minillm.support.interrupts import defer_interrupts
from minillm.trace.block_lines import BlockLines
from minillm.trace.choices import chosen_line, rounded, unseen_line
from minillm.trace.lines import admit_line, kind_of, model_line, phase_of, request_line
from minillm.trace.numbers import Numbers
from minillm.trace.pending import Pending
from minillm.trace.sources import source_of_event
from minillm.trace.texts import TokenTexts, tokens_of
from minillm.trace.work import pass_work

Line = dict[str, Any]
PROMPT = ("prefill", "chunk", "recompute")  # phases in which tokens of a prompt run, even if it is one token


class Recorder:
    """Turns events into lines, and hands them to `write`, step by step.

    Attributes:
        model: the model that answers; None before its first pass.
        completions: of all requests, by number.
        cache_dtypes: what the keys and values of each request were stored in, as `KVCache` takes it.
        problem: why the recording ended before the run; "" if it goes on.
        failure: the exception, if that is the reason.
    """

    def __init__(self, write: Callable[[Line], None], detail: str, times: bool) -> None:
        self._write, self._detail, self._times = write, detail, times
        self._started = self._began = perf_counter()
        self.model: Model | None = None
        self.completions: list[Completion] = []
        self.cache_dtypes: dict[int, str | None] = {}
        self.problem = ""
        self.failure: Exception | None = None
        self._requests, self._tables, self._groups, self._draft_models = (Numbers() for _ in range(4))
        self._caches: dict[int, object] = {}  # of each running request; None without a cache
        self._preempted = set[int]()  # requests that ever were
        self._pending, self._blocks, self._texts = Pending(), BlockLines(self._tables), TokenTexts(None)
        self._told = {"model", "pool"}  # kinds of lines whose source is known, or that have none
        self._sources: dict[str, str] = {}  # where lines are told whose kind is new
        self._pass: PassBegun | None = None
        self._drawn: events.Drawn | None = None
        self._judged: list[Line] = []
        self._draft_rows: list[Line] = []  # of draft models since the last draft: the request is not known yet
        self._chosen: Line = {}  # the last choice
        self._ran: list[Line] = []  # rows of the last pass, until its step ends

    def hear(self, event: Event) -> None:
        """Take one event. Ctrl-C waits for it, because half a line would be left of it.

        Events are told amid bookkeeping. So nothing is raised here: the recording ends, and the run goes on.
        """
        kind = type(event).__name__
        hear = getattr(self, f"_hear_{kind}", self._hear_block if kind.startswith("Block") else None)
        if hear and not self.problem:
            with defer_interrupts():
                try:
                    hear(event)
                except Exception as failure:
                    self.failure, self.problem = failure, f"the recorder failed: {type(failure).__name__}: {failure}"

    def close(self) -> None:
        """Write the lines that wait."""
        for line in self._pending.take():
            source = kind_of(line)
            if at := self._sources.pop(source, ""):
                self._write({"t": "source", "s": line["s"], "of": source, "at": at})
            if named := self._texts.line(line["s"], tokens_of(line)):
                self._write(named)
            self._write(line)

    def _add(self, line: Line) -> None:
        """Append a line. For the first of its kind, note where in the code it is told."""
        source = kind_of(line)
        if source not in self._told:
            self._told.add(source)
            self._sources[source] = source_of_event()
        self._pending.add(line)

    # Requests

    def _hear_Submitted(self, event: events.Submitted) -> None:
        self._describe(event.request, len(event.prompt), event.group)

    def _hear_Admitted(self, event: events.Admitted) -> None:
        request, cache = event.request, event.cache
        assert isinstance(request, Completion)
        number = self._describe(request, len(request.sequence))
        if self._caches.get(number, cache) is not cache:
            self._tables.drop(self._caches[number])  # a preempted request begins with another table
        self._caches[number] = cache
        table = None if cache is None else self._tables.of(cache)
        known = {"known": event.known_tokens, "restored": event.restored_tokens}
        self._add(admit_line(number, table, cache) | known | {"resumed": number in self._preempted})

    def _hear_Preempted(self, event: events.Preempted) -> None:
        number = self._number(event.request)
        self._preempted.add(number)
        table = self._tables.of(self._caches[number]) if self._caches[number] else None
        self._add({"t": "preempt", "id": number, "swapped": event.swapped_tokens, "table": table})

    def _hear_Finished(self, event: events.Finished) -> None:
        number = self._number(event.request)
        self._tables.drop(self._caches.pop(number, None))
        self._add({"t": "finish", "id": number, "why": event.reason})

    def _describe(self, request: object, tokens: int, group: object = None) -> int:
        """Return the number of a request; describe it first if it is new."""
        assert isinstance(request, Completion)
        if request not in self._requests:
            grouped = None if group is None else self._groups.of(group)
            self.completions.append(request)
            self._add(request_line(self._requests.of(request), request, tokens, grouped))
        return self._requests.of(request)

    def _number(self, request: object, new_tokens: int = 0) -> int:
        """Return the number of a running request, which may have begun before the recording."""
        assert isinstance(request, Completion)
        if request not in self._requests:
            number = self._describe(request, len(request.sequence) - new_tokens)
            self._caches[number] = None
            self._add(admit_line(number, None, None) | {"known": 0, "restored": 0, "resumed": False})
        return self._requests.of(request)

    # Passes

    def _hear_PassBegun(self, event: PassBegun) -> None:
        self._pass, self._began = event, perf_counter()
        if self._answers(event):
            self._drawn = None
            self._meet(event.model)

    def _hear_PassEnded(self, event: events.PassEnded) -> None:
        begun, self._pass = self._pass, None
        if begun is None:  # the recording began within the pass
            return
        answers = self._answers(begun)
        line: Line = {"t": "pass", "model": 0 if answers else self._draft_model(begun.model), "rows": []}
        line["rows"] = [self._row(rows) if answers else self._draft_row(rows) for rows in begun.sequences]
        work = pass_work(begun)
        line |= {"flops": int(work.flops), "weight_bytes": int(work.weight_bytes), "cache_bytes": int(work.cache_bytes)}
        if self._times:
            seconds = perf_counter() - self._began
            line |= {"began": rounded(self._began - self._started), "took": rounded(seconds)}
        self._add(line)
        if answers:
            self._ran = line["rows"]
            self._draft_rows.clear()
            self.close()

    def _answers(self, begun: PassBegun) -> bool:
        """Return whether this is a pass of the model that answers. Caches of draft models belong to no request."""
        caches = [rows.cache for rows in begun.sequences]
        if self.model is None or any(hasattr(each, "pool") or self._request_of(each) is not None for each in caches):
            return True
        naive = None in self._caches.values() and begun.model is self.model  # a new cache in each pass
        return naive or not self._caches

    def _request_of(self, cache: object) -> int | None:
        return next((number for number, own in self._caches.items() if own is cache), None)

    def _meet(self, model: object) -> None:
        """Describe the model that answers. A trace is of one such model."""
        assert isinstance(model, Model)
        if self.model is None:
            self.model, self._texts = model, TokenTexts(model.stored_tokenizer)
            self._pending.add_first(model_line(0, model))
        elif model is not self.model:
            self.problem = f"a trace is of one model, but {model.name} ran after {self.model.name}; record them apart"

    def _draft_model(self, model: object) -> int:
        assert isinstance(model, Model)
        if model not in self._draft_models:
            self._add(model_line(1 + self._draft_models.of(model), model))
        return 1 + self._draft_models.of(model)

    def _row(self, rows: Rows) -> Line:
        number = self._request_of(rows.cache)
        naive = [request for request, cache in self._caches.items() if cache is None]
        if number is None and naive and rows.first == 0:
            number = naive[-1]
        completion = None if number is None else self.completions[number]
        phase = phase_of(rows, completion, number in naive, number in self._preempted)
        if number is not None and number not in self.cache_dtypes and isinstance(rows.cache, Cache):
            self.cache_dtypes[number] = getattr(rows.cache, "memory").stored_as  # noqa: B009
        return _row_line(rows, phase, number)

    def _draft_row(self, rows: Rows) -> Line:
        self._draft_rows.append(_row_line(rows, "draft", None))
        return self._draft_rows[-1]

    def _hear_StepEnded(self, event: events.StepEnded) -> None:
        rows, self._ran = self._ran, []
        prompt = sum(row["count"] for row in rows if row["phase"] in PROMPT)
        draft = sum(row["count"] - 1 for row in rows if row["phase"] == "verify")
        counts = {"prefill": prompt, "decode": sum(row["count"] for row in rows) - prompt - draft, "draft": draft}
        queues = {"budget": event.budget, "running": event.running, "waiting": event.waiting}
        blocks = {"used": event.used_blocks, "entries": event.table_blocks, "filled": event.filled_slots}
        self._add({"t": "step"} | counts | queues | blocks)

    def _hear_block(self, event: Event) -> None:
        for line in self._blocks.lines(event):
            self._add(line)

    # Tokens

    def _hear_Drawn(self, event: events.Drawn) -> None:
        self._drawn = event

    def _hear_TokenChosen(self, event: events.TokenChosen) -> None:
        number, drawn, self._drawn = self._number(event.request, new_tokens=1), self._drawn, None
        chosen = {"t": "choice", "id": number, "token": event.token, "text": event.text, "origin": event.origin}
        candidates = unseen_line() if self._detail == "tokens" else chosen_line(event, drawn)
        self._chosen = chosen | {"why": event.finish_reason} | candidates
        self._add(self._chosen)

    def _hear_DraftProposed(self, event: events.DraftProposed) -> None:
        number, probs, self._drawn = self._number(event.request), event.probs, None
        for row in self._draft_rows:
            row["id"] = number
        self._draft_rows.clear()
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


def _row_line(rows: Rows, phase: str, number: int | None) -> Line:
    return {"id": number, "phase": phase, "first": rows.first, "count": len(rows.tokens), "logits": rows.logit_rows}
