"""A schedule as a value: how the tokens of one sequence go through the model, and into which cache.

    prefill 5+7, truncate 9, decode 2, block 4, batch 3

This schedule runs 5 tokens of the prompt in a pass, then 7. It drops the tokens from index 9 on, and runs the next 2
one at a time. The cache has blocks of 4 tokens, and every pass also runs 3 other sequences. What a schedule does not
say comes last: the rest of the prompt runs in one pass, then every token in a pass of its own. So the schedule that
says nothing is `whole`, the usual one.

A schedule is a frozen dataclass: it can be compared, printed as such a line, parsed from it (`parse`), changed with
`dataclasses.replace`, and saved in a file. `plan` says which passes it makes of a number of tokens.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from minillm.support.checks import check_bool, check_choice, check_integer, shown
from minillm.support.files import read_json
from minillm.support.state_file import write_whole
from minillm.support.wording import counted

FORMAT = "minillm schedule 1"
LARGEST_FILE, LARGEST_NUMBER, MOST_OPERATIONS = 100_000, 1_000_000, 1000


class Numbers(NamedTuple):
    """What numbers an operation takes: how many, and the least of each."""

    fewest: int
    most: int
    least: int


OPERATIONS = {  # for each operation its numbers, and what it does
    "prefill": (Numbers(0, 1000, 1), "prefill 5+7 runs 5 tokens in one pass, then 7; alone, the rest of the prompt"),
    "chunk": (Numbers(1, 1, 1), "chunk 3 runs the rest of the prompt in passes of 3 tokens"),
    "decode": (Numbers(0, 1, 1), "decode 4 runs 4 tokens, each in a pass of its own; alone, all that are left"),
    "truncate": (Numbers(1, 1, 0), "truncate 9 drops the tokens from index 9 on; they run again"),
    "guess": (Numbers(1, 1, 1), "guess 3 runs 3 wrong draft tokens in one pass, then drops them"),
    "fork": (Numbers(0, 0, 0), "goes on in a fork of the cache; after its next pass, the original runs a wrong token"),
    "copy": (Numbers(1, 1, 0), "copy 5 goes on in a copy of the first 5 tokens, as fork does in one of all"),
    "preempt": (Numbers(0, 0, 0), "gives the cache up, and runs its tokens again in one pass"),
    "swap": (Numbers(0, 0, 0), "copies the cache out, and back in (of minillm's caches, needs block)"),
}
SETTINGS = {
    "block": "block 4 has a paged cache with blocks of 4 tokens; without it, the cache is contiguous",
    "batch": "batch 3 runs 3 other sequences in every pass",
    "int8": "stores keys and values in 8 bits",
    "naive": "has no cache: every pass runs the whole sequence again",
}


@dataclass(frozen=True)
class Operation:
    """One step of a schedule: a key of OPERATIONS, and its numbers.

    Example:
        >>> from minillm.bisection.schedule import Operation
        >>> str(Operation("prefill", (5, 7)))
        'prefill 5+7'
    """

    name: str
    numbers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_choice("the operation", self.name, tuple(OPERATIONS))
        takes, example = OPERATIONS[self.name]
        if not takes.fewest <= len(self.numbers) <= takes.most:
            raise ValueError(f"{self} has {counted(len(self.numbers), 'number')}; expected: {example}")
        for number in self.numbers:
            check_integer(self.name, number, takes.least, LARGEST_NUMBER)

    def __str__(self) -> str:
        return f"{self.name} {'+'.join(map(str, self.numbers))}".strip()


@dataclass(frozen=True)
class Schedule:
    """How the tokens of a sequence go through the model.

    Attributes:
        operations: what is done, in order.
        block_size: tokens in a block of a paged cache; None for a contiguous cache.
        others: the number of other sequences in every pass.
        cache_dtype: "int8", or None for the model's dtype.
        naive: whether there is no cache: every pass runs the whole sequence again.

    Example:
        >>> from minillm.bisection.schedule import Operation, Schedule, parse
        >>> schedule = Schedule((Operation("prefill", (5, 7)), Operation("fork")), block_size=4)
        >>> str(schedule)
        'prefill 5+7, fork, block 4'
        >>> parse("prefill 5+7, fork, block 4") == schedule
        True
    """

    operations: tuple[Operation, ...] = ()
    block_size: int | None = None
    others: int = 0
    cache_dtype: str | None = None
    naive: bool = False

    def __post_init__(self) -> None:
        if len(self.operations) > MOST_OPERATIONS:
            raise ValueError(f"the schedule has {len(self.operations)} operations; expected at most {MOST_OPERATIONS}")
        if self.block_size is not None:
            check_integer("block", self.block_size, 1, LARGEST_NUMBER)
        check_integer("batch", self.others, 0, 1000)
        if self.cache_dtype is not None:
            check_choice("cache_dtype", self.cache_dtype, ("int8",))
        check_bool("naive", self.naive)
        names = {operation.name for operation in self.operations}
        if self.naive and (self.block_size or self.cache_dtype or names - {"prefill", "chunk", "decode"}):
            raise ValueError(f"{self}: naive has no cache; expected prefill, chunk, decode and batch only")

    def __str__(self) -> str:
        settings = [f"block {self.block_size}"] if self.block_size is not None else []
        settings += [f"batch {self.others}"] if self.others else []
        settings += [self.cache_dtype] if self.cache_dtype else []
        settings += ["naive"] if self.naive else []
        return ", ".join([*(map(str, self.operations) if self.operations else ["whole"]), *settings])

    def save(self, file: str | Path) -> None:
        """Write the schedule as JSON, with one line for each operation.

        Raises:
            OSError: the file cannot be written.
        """
        values = asdict(self) | {"operations": [str(operation) for operation in self.operations]}
        write_whole(Path(file), json.dumps({"format": FORMAT} | values, indent=1) + "\n")


def parse(line: str) -> Schedule:
    """Return the schedule of a line such as `prefill 5+7, decode 2, block 4`. The order of settings does not matter.

    Raises:
        ValueError: a word is unknown, or its numbers are wrong.

    Example:
        >>> from minillm.bisection.schedule import parse
        >>> parse("chunk 3, batch 2").others
        2
    """
    operations: list[Operation] = []
    settings: dict[str, Any] = {}
    parts = [part.split() for part in line.split(",")]
    for words in parts:
        name, numbers = _numbers(words, line)
        if name in OPERATIONS:
            operations.append(Operation(name, numbers))
        elif name == "whole" and not numbers and words is parts[0]:
            continue
        else:
            key, value = _setting(name, numbers, line)
            if key in settings:
                raise ValueError(f"{shown(line)}: {name} occurs twice; expected it once")
            settings[key] = value
    if operations and parts[0] == ["whole"]:
        raise ValueError(f"{shown(line)}: whole is the schedule without operations; leave it out")
    return Schedule(tuple(operations), **settings)


def begins_like_a_schedule(line: str) -> bool:
    """Return whether the first word is one of a schedule, or a number follows it, as in `chnk 3`."""
    first = line.partition(",")[0]
    word = first.split()[:1]
    known = bool(word) and (word[0] in OPERATIONS or word[0] in SETTINGS or word[0] == "whole")
    return known or re.fullmatch(r"\s*[a-z]+\s+[\d+\s]+", first) is not None


def _numbers(words: list[str], line: str) -> tuple[str, tuple[int, ...]]:
    """Return the name and the numbers of one part: `prefill 5+7` or `prefill 5 + 7`."""
    name, text = (words[0], "".join(words[1:])) if words else ("", "")
    digits = text.split("+") if text else []
    if not all(part.isascii() and part.isdigit() and len(part) <= 7 for part in digits):
        part = " ".join(words)
        where = "" if part == line.strip() else f"{shown(line)}: "
        example = f"{name if name in (*OPERATIONS, *SETTINGS) else 'chunk'} 5"
        raise ValueError(
            f"{where}{shown(part)} has a wrong number; expected up to 7 digits, such as {example}, or {example} @exact"
        )
    return name, tuple(map(int, digits))


def _setting(name: str, numbers: tuple[int, ...], line: str) -> tuple[str, Any]:
    """Return the field and the value of a setting."""
    if name in ("block", "batch") and len(numbers) == 1:
        least = 1
        return {"block": "block_size", "batch": "others"}[name], check_integer(name, numbers[0], least, LARGEST_NUMBER)
    if name in ("int8", "naive") and not numbers:
        return ("cache_dtype", "int8") if name == "int8" else ("naive", True)
    if name in SETTINGS:
        raise ValueError(f"{shown(line)}: {name} has {counted(len(numbers), 'number')}; expected: {SETTINGS[name]}")
    known = ", ".join(["whole", *OPERATIONS, *SETTINGS])
    raise ValueError(f"{shown(line)}: {shown(name)} is not a word of a schedule; expected one of {known}")


def read(file: str | Path) -> Schedule:
    """Return the schedule of a file that `Schedule.save` wrote, or that somebody edited.

    Raises:
        ValueError: the file is not one of a schedule.
        OSError: the file cannot be read.
    """
    path = Path(file)
    values = read_json(path, LARGEST_FILE)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ValueError(f'{path.name}: not a schedule; expected a JSON object with "format": "{FORMAT}"')
    fields = {key: value for key, value in values.items() if key != "format"}
    if unknown := set(fields) - set(Schedule.__dataclass_fields__):
        known = ", ".join(Schedule.__dataclass_fields__)
        raise ValueError(f"{path.name}: {shown(min(unknown))} is not a field of a schedule; expected {known}")
    lines = fields.pop("operations", [])
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise ValueError(f'{path.name}: operations is {shown(lines)}; expected a list such as ["prefill 5+7"]')
    try:
        return Schedule(tuple(Operation(*_numbers(line.split(), line)) for line in lines), **fields)
    except ValueError as problem:
        raise ValueError(f"{path.name}: {problem}") from None


class Planned(NamedTuple):
    """One thing to do: `run` tokens [first, first + tokens), or an operation on a cache.

    `truncate` and `copy` leave `first` of `tokens` tokens. Otherwise the cache holds `first` tokens, and `guess`
    runs `tokens` more.
    """

    do: str  # run, truncate, guess, fork, copy, free, swap
    first: int
    tokens: int = 0


def plan(schedule: Schedule, prompt_tokens: int, tokens: int) -> list[Planned]:
    """Return what a schedule does with a prompt and the tokens after it.

    Args:
        schedule: the schedule.
        prompt_tokens: the number of tokens in the prompt.
        tokens: the number of all tokens that run, at least `prompt_tokens`.

    Raises:
        ValueError: it runs more tokens than there are, or drops tokens that are not in the cache.

    Example:
        >>> from minillm.bisection.schedule import parse, plan
        >>> [tuple(step) for step in plan(parse("chunk 2"), prompt_tokens=3, tokens=4)]
        [('run', 0, 2), ('run', 2, 1), ('run', 3, 1)]
    """
    steps: list[Planned] = []
    length = 0
    for operation in [*schedule.operations, None]:
        for step in _steps(operation, length, prompt_tokens, tokens):
            steps.append(step)
            length = {"run": step.first + step.tokens, "truncate": step.first, "copy": step.first, "free": 0}.get(
                step.do, length
            )
            if length > tokens:
                left = f"{counted(prompt_tokens, 'token')} of the prompt and {tokens - prompt_tokens} after it"
                raise ValueError(f"{operation} runs more tokens than there are: {left}")
    return steps


def _steps(operation: Operation | None, length: int, prompt: int, tokens: int) -> Iterator[Planned]:
    """Yield what one operation does to a cache with `length` tokens; None is the end, which runs all that are left."""
    name, numbers = (operation.name, operation.numbers) if operation else ("end", ())
    if name in ("prefill", "chunk") and not (name == "prefill" and numbers) and length >= prompt:
        raise ValueError(f"{operation}: the whole prompt, {counted(prompt, 'token')}, has run before")
    match name:
        case "prefill":
            yield from _runs(length, numbers or (prompt - length,))
        case "chunk":
            [size] = numbers
            yield from (Planned("run", first, min(size, prompt - first)) for first in range(length, prompt, size))
        case "decode":
            yield from _runs(length, [1] * (numbers[0] if numbers else tokens - length))
        case "truncate" | "copy":
            if numbers[0] > length:
                raise ValueError(f"{operation}: the cache holds {counted(length, 'token')}")
            yield Planned(name, numbers[0], length)
        case "guess":
            yield Planned("guess", length, numbers[0])
        case "preempt":
            yield Planned("free", length)
            yield from _runs(0, [length] if length else [])
        case "end":
            prefill = [prompt - length] if length < prompt else []
            yield from _runs(length, [*prefill, *[1] * (tokens - max(length, prompt))])
        case "swap" if not length:
            raise ValueError("swap: the cache is empty; expected tokens to copy out")
        case _:
            yield Planned(name, length)


def _runs(first: int, counts: Any) -> Iterator[Planned]:
    for count in counts:
        yield Planned("run", first, count)
        first += count
