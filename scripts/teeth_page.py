"""The results of `scripts/teeth.py`: their file, one line for each mutant, and the page that is written from it."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from teeth_mutants import Mutant
from teeth_tests import SAME

INTRODUCTION = """\
# Teeth: do the tests notice a bug?

A test that cannot fail proves nothing. So a program plants small bugs in the core files, each a change of one line:
`<` becomes `<=`, `+` becomes `-`, 1 becomes 2, `min` becomes `max`, two arguments are swapped, a statement is left
out. Then it runs the tests. The bugs are samples by seed of all that `scripts/teeth_mutants.py` can plant, so nobody
chose those that tests find easily.

A bug is caught if tests fail in three of three runs. The runs differ in the seeds of Hypothesis and of Python's hashes,
and none knows what failed before. What failed must pass without the bug.

This page is generated. `nox -s teeth` or `python scripts/teeth.py --seed 1 2 --sample 40` continues the file of
results next to it, `teeth.jsonl`: mutants of changed lines are new, and mutants that nothing noticed are tried again.
Only mutants that were tried so far count here: of a sample of 40, about the first half. The others are not tried yet,
and one that tests notice late is tried later, so the score is that of a part. A larger sample contains the smaller one.
"""


@dataclass(frozen=True)
class Result:
    """What became of a mutant."""

    mutant: Mutant
    seeds: tuple[int, ...]  # of the samples that contain it
    caught_by: tuple[str, ...] = ()  # the test that failed in each of three runs; "" where none did; () before

    @property
    def reason(self) -> str:
        """Why no test has to catch it, or an empty text."""
        return SAME.get((self.mutant.path, self.mutant.before.strip(), self.mutant.after.strip()), "")

    @property
    def is_caught(self) -> bool:
        """Whether tests failed in every run."""
        return bool(self.caught_by) and all(self.caught_by)


def read_results(path: Path) -> list[Result]:
    """Return the results in a file; none if there is no such file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return [Result(Mutant(**row["mutant"]), tuple(row["seeds"]), tuple(row["caught_by"])) for row in rows]


def write_results(path: Path, results: Iterable[Result]) -> None:
    """Write the results of mutants that were tried, by file and line; a reader finds the old file or the new one."""
    fresh = path.with_suffix(".new")
    ordered = sorted((result for result in results if result.caught_by), key=lambda result: result.mutant)
    fresh.write_text("".join(f"{json.dumps(asdict(result))}\n" for result in ordered), encoding="utf-8")
    fresh.replace(path)


def page(results: list[Result]) -> str:
    """Return the page in Markdown."""
    parts = [INTRODUCTION, *_score(results), *_survivors(results), *_by_kind(results), *_by_file(results)]
    return "\n".join(parts) + "\n"


def _score(results: list[Result]) -> Iterator[str]:
    yield "## Score\n"
    yield "| seed | mutants | behave the same | change behaviour | caught three times of three |\n|---|---|---|---|---|"
    for seed in sorted({seed for result in results for seed in result.seeds}):
        here = [result for result in results if seed in result.seeds]
        wrong = [result for result in here if result.is_caught or not result.reason]
        caught = sum(result.is_caught for result in wrong)
        share = f"{caught} of {len(wrong)} ({caught / len(wrong):.0%})"
        yield f"| {seed} | {len(here)} | {len(here) - len(wrong)} | {len(wrong)} | {share} |"


def _survivors(results: list[Result]) -> Iterator[str]:
    alive = [result for result in results if not result.is_caught]
    if same := [result for result in alive if result.reason]:
        yield "\n## Not caught: mutants that behave the same\n"
        yield from (_told(result, result.reason) for result in same)
    if opened := [result for result in alive if not result.reason]:
        yield "\n## Not caught, or not each time: tests are missing\n"
        yield from (_told(result, f"caught in {sum(map(bool, result.caught_by))} of 3 runs") for result in opened)


def _told(result: Result, comment: str) -> str:
    mutant = result.mutant
    return f"- `{mutant.path}`: {comment}\n\n  ```diff\n  - {mutant.before.strip()}\n  + {mutant.after.strip()}\n  ```"


def _by_kind(results: list[Result]) -> Iterator[str]:
    yield "\n## By kind of mutant\n\n| kind | mutants that change behaviour |\n|---|---|"
    yield from _counted(result.mutant.kind for result in results if result.is_caught or not result.reason)


def _by_file(results: list[Result]) -> Iterator[str]:
    yield "\n## Which tests caught them\n\n| tests | mutants |\n|---|---|"
    yield from _counted(result.caught_by[0].split("::")[0] for result in results if result.is_caught)


def _counted(words: Iterable[str]) -> Iterator[str]:
    for word, count in sorted(Counter(words).items(), key=lambda pair: (-pair[1], pair[0])):
        yield f"| {word} | {count} |"
