"""`minillm quantize`: compare a model's formats, or write a model as a GGUF file in one of them."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from minillm.cli.options import DEFAULT_MODEL, check_folder_of, check_plot_file
from minillm.cli.printing import bytes_text, print_json, show
from minillm.support.checks import check_integer
from minillm.support.terminal import terminal_width
from minillm.support.wording import counted

DEFAULT_TOKENS = 10_000
NOTHING = 1e-8  # nats: the same weights, whose products a backend may round in another order
HEADINGS = ("weights", "MB", "tokens/s", "perplexity", "KL, nats", "agreement")
COMPARE = ("model", "backend", "formats", "tokens", "text", "plot")  # options of each form alone
WRITE = ("weights", "out", "force")


def add_parser(commands: Any) -> None:
    """Add `quantize` with its two forms."""
    parser = commands.add_parser(
        "quantize",
        help="compare formats of weights, or write a model in one",
        usage="minillm quantize compare [--model NAME] [options]\n"
        "       minillm quantize NAME --weights FORMAT --out FILE.gguf [--force]",
        description="Compare memory, speed and accuracy of a model in several formats of its weights; or write a "
        "model as a GGUF file, which minillm and llama.cpp load.",
    )
    parser.add_argument("name", metavar="compare|NAME", help="`compare`, or the model to write, as in --model")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    add = parser.add_argument_group("minillm quantize compare").add_argument
    add(
        "--model",
        help=f"a name from `minillm models` (default {DEFAULT_MODEL}), a folder, a .gguf file, or hf:org/name",
    )
    add("--backend", help="which one computes (default: the fastest one that is installed)")
    add("--formats", metavar="F,...", help="which to compare with float32 (default: all of bfloat16,int8,int4)")
    add("--tokens", type=int, metavar="N", help=f"tokens of the text (default {DEFAULT_TOKENS}, or all it has)")
    add("--text", metavar="FILE", help="the text, in UTF-8 (default: the prose of the lessons)")
    add("--plot", metavar="FILE.svg", help="draw accuracy and speed over memory")
    add = parser.add_argument_group("minillm quantize NAME").add_argument
    add("--weights", metavar="FORMAT", help="float32, bfloat16, int8 or int4")
    add("--out", metavar="FILE.gguf", help="the file to write")
    add("--force", action="store_true", help="replace a file that exists")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare, or write."""
    compares = options.name == "compare"
    for name in WRITE if compares else COMPARE:
        if getattr(options, name) not in (None, False):
            form = "NAME" if compares else "compare"
            raise ValueError(f"--{name} belongs to `minillm quantize {form}`, not to `minillm quantize {options.name}`")
    return _compare(options) if compares else _write(options)


def _write(options: argparse.Namespace) -> int:
    from minillm.loading import open_checkpoint
    from minillm.loading.gguf.write import TYPES, write_gguf
    from minillm.support.checks import check_choice
    from minillm.support.progress import progress_on_stderr

    if options.weights is None or options.out is None:
        missing = "--weights: float32, bfloat16, int8 or int4" if options.weights is None else "--out FILE.gguf"
        raise ValueError(f"expected {missing}, as in: minillm quantize story --weights int8 --out story.gguf")
    check_choice("--weights", options.weights, list(TYPES))
    out = _new_file(options.out, options.force)
    with progress_on_stderr() as report:
        write_gguf(open_checkpoint(options.name), out, options.weights, report)
    record = {"model": options.name, "weights": options.weights, "file": str(out), "bytes": out.stat().st_size}
    if options.json:
        print_json(record)
    else:
        show(f"{out}: {bytes_text(record['bytes'])}, weights in {options.weights}",
             f"Load it with minillm.load({str(out)!r}, weights=\"stored\"), or with llama.cpp.")  # fmt: skip
    return 0


def _new_file(name: str, force: bool) -> Path:
    """Return the path of the file to write.

    Raises:
        ValueError: the name does not end in .gguf, its folder does not exist, or a file is there and stays.
    """
    out = Path(name)
    if out.suffix != ".gguf":
        raise ValueError(f"--out is {name[:80]!r}; expected a name that ends in .gguf")
    check_folder_of("--out", name)
    if out.is_dir() or (out.exists() and not force):
        way = "choose another name" if out.is_dir() else "choose another name, or replace it with --force"
        raise ValueError(f"--out: {out} exists; {way}")
    return out


def _compare(options: argparse.Namespace) -> int:
    from minillm.evidence.format_comparison import compare_formats
    from minillm.support.progress import progress_on_stderr

    backend, formats = _backend_and_formats(options)
    limit = check_integer("--tokens", DEFAULT_TOKENS if options.tokens is None else options.tokens, 2, 10_000_000)
    check_plot_file(options.plot)
    if options.plot:
        from minillm.evidence.format_plot import check_matplotlib, save_format_plot

        check_matplotlib()
    text = None if options.text is None else _text(options.text)
    with progress_on_stderr() as report:
        record = compare_formats(options.model or DEFAULT_MODEL, backend, formats, limit, text, report)
    if options.plot:
        save_format_plot(Path(options.plot), record)
    if options.json:
        print_json(record)
    else:
        _show(record)
    return 0


def _backend_and_formats(options: argparse.Namespace) -> tuple[str, list[str]]:
    """Return the backend, and float32 with the formats to compare it with."""
    from minillm.backends import get_backend
    from minillm.benchmark.fastest import fastest_backend
    from minillm.support.checks import check_choice

    backend = fastest_backend() if options.backend is None else options.backend
    known = get_backend(backend).formats
    if options.formats is None:
        return backend, [weights for weights in known if weights != "stored"]
    given = [name.strip() for name in options.formats.split(",") if name.strip()]
    for weights in given:
        check_choice(f"the {backend} backend: --formats", weights, known)
    return backend, list(dict.fromkeys(["float32", *given]))


def _text(file: str) -> str:
    from minillm.support.files import read_ordinary_file

    try:
        return read_ordinary_file(Path(file), 100_000_000).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"--text: {file}: expected text in UTF-8") from None


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["weights"], f"{row['resident_bytes'] / 1e6:.1f}", f"{row['tokens_per_s']['median']:.1f}",
        f"{row['perplexity']:,.2f}", f"{row['kl_divergence']:.5f}", f"{row['agreement']:.1%}",
    )  # fmt: skip


def _tables(rows: list[tuple[str, ...]]) -> Iterator[Any]:
    """Yield one table with a row for each format if the terminal is wide enough, else a block for each format."""
    from minillm.cli.bench_tables import table_of

    width = sum(1 + max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)) - 1
    if width <= terminal_width():
        whole = table_of(*HEADINGS)
        for row in rows:
            whole.add_row(*row)
        yield from (whole, "")
        return
    for row in rows:
        block = table_of(HEADINGS[0], row[0])
        for line in zip(HEADINGS[1:], row[1:], strict=True):
            block.add_row(*line)
        yield from (block, "")


def _show(record: Mapping[str, Any]) -> None:
    tokens = counted(record["tokens"], "token")
    show(
        f"{record['model']}, {record['backend']} backend, {tokens} in windows of {record['window']}",
        "", *_tables([_cells(row) for row in record["formats"]]),
        "MB: how much the memory of a process grows when it loads the model. tokens/s: decoding, one sequence.",
        "KL, agreement: what it predicts, compared with float32: the KL divergence, and how often the most probable "
        "token is the same.",
    )  # fmt: skip
    stored = [row["weights"] for row in record["formats"][1:] if row["kl_divergence"] < NOTHING]
    if stored:
        show(f"{', '.join(stored)}: no loss, because the file itself stores these numbers. A model that is stored in "
             "more bits shows what rounding loses.")  # fmt: skip
    if record["formats"][0]["perplexity"] > record["vocab_size"]:
        show("The text is less probable to this model than random tokens: compare on another one with --text.")
