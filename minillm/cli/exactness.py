"""`minillm exactness`: one hash of the exact backend's logits, and what each schedule changes on every backend."""

import argparse
from dataclasses import asdict
from typing import Any

from minillm.cli.options import DEFAULT_MODEL, add_weights_option
from minillm.cli.parallel import add_parallel_option, load_model
from minillm.cli.printing import print_json, show
from minillm.support.checks import check_integer
from minillm.support.wording import counted

NEW_TOKENS = 64
WHY = """\
A float32 sum rounds after every addition, so its last digits depend on the order of the additions. A matrix library \
chooses that order by the shape of the work: it adds up one row (decoding) differently from seven (a chunk) or a \
hundred (a prompt). So the logits of the same prompt differ in their last digits, and where two tokens are almost \
equally probable, the text differs too. The exact backend first rounds all numbers to multiples of a step. The step is \
so coarse that no sum of them rounds: every order gives the same bits, with any number of threads, on any processor."""


def add_parser(commands: Any) -> None:
    """Add `exactness`. It has no --backend: it compares all of them."""
    parser = commands.add_parser(
        "exactness",
        help="show what schedules change in the logits",
        description="Print one hash of the exact backend's logits, and show what schedules change on every backend.",
    )
    add = parser.add_argument
    add("--model", default=DEFAULT_MODEL, help="a name from `minillm models`, a folder, a .gguf file, or hf:org/name")
    add_weights_option(parser)
    add("--prompt", help="a text to continue (default: one about a robot and an owl)")
    add("--max-new-tokens", type=int, metavar="N", help=f"tokens to generate, greedily (default {NEW_TOKENS})")
    add("--hash-only", action="store_true", help="print the hash and nothing else")
    add("--json", action="store_true", help="print one JSON object instead of text")
    add_parallel_option(parser)
    parser.set_defaults(run=run, backend="exact", dtype="float64")


def run(options: argparse.Namespace) -> int:
    """Hash the logits, compare the schedules, and print."""
    from minillm.evidence.exactness import PROMPT, logits_hash
    from minillm.generation import encode_prompt
    from minillm.transformer import forward

    if options.hash_only and options.json:
        raise ValueError("--hash-only prints the hash alone; leave out --json")
    text = PROMPT if options.prompt is None else options.prompt
    exact = load_model(options)
    prompt = encode_prompt(exact, text)
    new_tokens = 0 if options.hash_only else _new_tokens(options, exact.config.max_position_embeddings - len(prompt))
    digest = logits_hash(forward(exact, prompt))
    if options.hash_only:
        print(digest)
        return 0
    record = {
        "model": options.model,
        "weights": options.weights,
        "prompt": text,
        "prompt_tokens": len(prompt),
        "new_tokens": new_tokens,
        "sha256": digest,
        "comparisons": _comparisons(options.model, exact, prompt, new_tokens),
    }
    if options.json:
        print_json(record)
    else:
        _print(record, exact)
    return 0


def _new_tokens(options: argparse.Namespace, room: int) -> int:
    if options.max_new_tokens is None and room >= 1:
        return min(NEW_TOKENS, room)
    if room < 1:
        raise ValueError("the prompt fills the model's context; expected room for at least one new token")
    return check_integer("--max-new-tokens", options.max_new_tokens, 1, room)


def _comparisons(name: str, exact: Any, prompt: list[int], new_tokens: int) -> list[dict[str, Any]]:
    """Compare every schedule on every backend with the naive one of the same backend."""
    from minillm.backends import NAMES
    from minillm.evidence.exactness import SCHEDULES, compare
    from minillm.loading.load import load
    from minillm.support.progress import progress_on_stderr

    records: list[dict[str, Any]] = []
    with progress_on_stderr() as progress:
        for backend in NAMES:
            progress(f"{backend} backend", len(records), len(NAMES) * len(SCHEDULES))
            model = exact if backend == "exact" else load(name, backend, weights=exact.weights)
            for comparison in compare(model, prompt, new_tokens):
                records.append({"backend": backend, "dtype": str(model.dtype), **asdict(comparison)})
                progress(f"{backend} backend", len(records), len(NAMES) * len(SCHEDULES))
    return records


def _print(record: dict[str, Any], exact: Any) -> None:
    from rich.table import Table

    weights = "" if record["weights"] == "float32" else f", weights {record['weights']}"
    tokens = counted(record["prompt_tokens"], "token")
    show(f"{record['model']}{weights}, exact backend: SHA-256 of the logits of {tokens} by "
         f"{exact.config.vocab_size}, as little-endian float64:", record["sha256"], "")  # fmt: skip
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("backend", "schedule", "largest difference", f"the {counted(record['new_tokens'], 'new token')}"):
        table.add_column(heading, justify="right" if heading == "largest difference" else "left", overflow="fold")
    for row in record["comparisons"]:
        naive = next(other for other in record["comparisons"] if other["backend"] == row["backend"])
        table.add_row(*_cells(row, naive, exact.tokenizer))
    show(table, "", WHY)


def _cells(row: dict[str, Any], naive: dict[str, Any], tokenizer: Any) -> tuple[str, str, str, str]:
    first, difference = row["first_difference"], row["largest_difference"]
    if row is naive:
        return row["backend"], f"{row['schedule']} (naive)", "", ""
    text = "the same"
    if first is not None:
        found, expected = (repr(tokenizer.token_text(tokens[first])) for tokens in (row["tokens"], naive["tokens"]))
        text = f"differ from token {first + 1} on: {found} for {expected}"
    return "", row["schedule"], f"{difference:.1e}" if difference else "0, bit for bit", text
