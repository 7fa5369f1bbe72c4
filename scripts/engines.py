"""Run the properties on the shipped adapters, and write the page of their results.

    python scripts/engines.py                                 the page, from the stored results
    python scripts/engines.py transformers_llama llamacpp     run adapters, then write the page
    python scripts/engines.py transformers_decoders --only moshi --examples 20    one engine, shorter searches

Each engine's results are a line of docs/results/engine-matrix.jsonl, written when it is done, with the page
docs/results/engine-matrix.md: a run that was stopped goes on where it was. `--again` runs engines that have results,
too.
"""

import argparse
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from engines_page import page

from minillm.verification.engine_file import LoadedEngine, load_engines
from minillm.verification.engine_process import EngineProcess
from minillm.verification.properties import PROPERTIES
from minillm.verification.report import fields
from minillm.verification.search import search
from minillm.verification.shipped_adapters import find_engine_file

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "docs/results/engine-matrix.jsonl", ROOT / "docs/results/engine-matrix.md"
KEPT = ("property", "verdict", "summary", "largest_difference", "refused", "same_as", "model", "calls", "what")


def main() -> None:
    """Run the adapters that are named, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("adapters", nargs="*", help="shipped adapters to run")
    parser.add_argument("--examples", type=int, help="examples of each property; the default is that of pytest")
    parser.add_argument("--only", nargs="+", metavar="ENGINE", help="engines of the adapters")
    parser.add_argument("--again", action="store_true", help="run engines that have results, too")
    arguments = parser.parse_args()
    for adapter in arguments.adapters:
        run(adapter, arguments.only, arguments.examples, arguments.again)
    store(stored())


def stored() -> dict[tuple[str, str], dict]:
    """Return the results so far, by adapter and engine."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    return {(one["adapter"], one["engine"]): one for one in map(json.loads, lines)}


def run(adapter: str, only: list[str] | None, examples: int | None, again: bool) -> None:
    """Run engines of an adapter, and store the results of each when it is done."""
    file = find_engine_file(adapter, Path.cwd())
    loaded = load_engines(file, EngineProcess(file))
    try:
        for engine in loaded:
            key = adapter, engine.adapter.name
            if (only is None or key[1] in only) and (again or key not in stored()):
                row = {"adapter": adapter, "engine": key[1], "examples": examples}
                results = {"results": [*verdicts(engine, examples)]}
                store(dict(sorted({**stored(), key: row | results}.items())))
                print(*key, flush=True)
    finally:
        loaded[0].close()


def verdicts(engine: LoadedEngine, examples: int | None) -> Iterator[dict]:
    """Yield the verdict on each property."""
    known = []
    for name, tried in PROPERTIES.items():
        shorter = tried._replace(search=partial(tried.search, examples=examples)) if examples else tried
        known.append(search(name, shorter, engine, known))
        told = fields(known[-1])
        yield {key: told[key] for key in KEPT if told[key]}


def store(rows: dict[tuple[str, str], dict]) -> None:
    """Write all results, and the page. A reader finds the old file of results or the new one."""
    fresh = RESULTS.with_suffix(".new")
    fresh.write_text("".join(f"{json.dumps(row)}\n" for row in rows.values()), encoding="utf-8")
    fresh.replace(RESULTS)
    PAGE.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
