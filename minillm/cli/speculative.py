"""`minillm generate --speculative`: which tokens were drafted, which corrected, and what the draft gained."""

import argparse
import sys
from typing import Any

from minillm.cli.options import cache_dtype_from
from minillm.cli.printing import write
from minillm.support.checks import check_integer
from minillm.support.printable import safe

ACCEPTED, CORRECTED, BONUS = "accepted", "corrected", "bonus"  # Step.origin; as in minillm.speculative, loaded later
STYLES = {ACCEPTED: "green", CORRECTED: "bold yellow", BONUS: "cyan", "": ""}
MARKS = {CORRECTED: "~", BONUS: "+", "": ""}  # before a token; accepted draft tokens are in [ ] instead


def add_speculative_options(parser: Any) -> None:
    """Add --speculative, --draft and --k."""
    add = parser.add_argument
    add("--speculative", action="store_true", help="draft tokens cheaply, and verify several in one pass")
    add(
        "--draft",
        metavar="NAME",
        help="with --speculative: a smaller model with the same tokens (a name or path as for --model), "
        "lookup (what followed the same words before; the default), or skip (the model without half its layers)",
    )
    add("--k", metavar="N", help="with --speculative: draft tokens in a round, or auto (the default)")


def check_speculative_options(options: argparse.Namespace) -> None:
    """Refuse options that do not go together.

    Raises:
        ValueError: an option of speculation without --speculative, or one that it cannot be combined with.
    """
    if not options.speculative:
        for name, value in (("--draft", options.draft), ("--k", options.k)):
            if value is not None:
                raise ValueError(f"{name} is an option of --speculative; add that")
    elif options.no_cache or options.show_phases:
        other = "--no-cache" if options.no_cache else "--show-phases"
        raise ValueError(f"--speculative verifies on a cache, round by round; leave {other} out")
    draft_length_from(options)


def draft_length_from(options: argparse.Namespace) -> int | str:
    """Return --k: an integer, or "auto".

    Raises:
        ValueError: it is neither.
    """
    text: str | None = options.k
    if text is None or text == "auto":
        return "auto"
    if not text.isdecimal() or len(text) > 9:
        raise ValueError(f"--k is {text[:40]!r}; expected an integer of at least 1 and at most 9 digits, or auto")
    return check_integer("--k", int(text), 1)


def speculative_generation(
    model: Any, prompt: list[int], new_tokens: int, sampling: Any, options: argparse.Namespace
) -> Any:
    """Return the SpeculativeGeneration that the options describe."""
    from minillm.speculative import SpeculativeGeneration

    drafter, k = drafter_from(model, options), draft_length_from(options)
    return SpeculativeGeneration(model, drafter, prompt, new_tokens, sampling, k, cache_dtype_from(options))


def drafter_from(model: Any, options: argparse.Namespace) -> Any:
    """Return the drafter that --draft names, for this model."""
    from minillm.loading.load import load
    from minillm.speculative import PromptLookup, skip_layers

    if options.draft is None or options.draft == "lookup":
        return PromptLookup()
    if options.draft == "skip":
        return skip_layers(model)
    return load(options.draft, options.backend, options.dtype, options.weights)


class StepWriter:
    """Writes the text of each step, and marks the origin of its token: with characters, and colours if possible."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(highlight=False, markup=False)
        self.colours = self.console.is_terminal and not self.console.no_color
        self.origin = ""  # of the previous token

    def __call__(self, step: Any) -> None:
        """Write one step."""
        self._end_run(step.origin)
        mark = "[" if step.origin == ACCEPTED != self.origin else MARKS.get(step.origin, "")
        self._write(mark + step.text, step.origin)
        self.origin = step.origin

    def finish(self) -> None:
        """End the text, and write what the marks mean."""
        self._end_run("")
        write("\n")
        for text, origin in (
            ("[accepted draft tokens]", ACCEPTED),
            ("~the model's own token in place of a rejected one", CORRECTED),
            ("+a bonus token after a round in which all were accepted", BONUS),
        ):
            self._write(text, origin)
            write("\n")
        write("no mark: a round without a draft\n")

    def _end_run(self, origin: str) -> None:
        if self.origin == ACCEPTED != origin:
            self._write("]", ACCEPTED)

    def _write(self, text: str, origin: str) -> None:
        if not self.colours or not STYLES[origin]:
            write(text)
            return
        from rich.text import Text

        with self.console.capture() as drawn:
            self.console.print(Text(safe(text), STYLES[origin]), end="", soft_wrap=True)
        sys.stdout.write(drawn.get())
        sys.stdout.flush()


def speculative_record(out: Any) -> dict[str, int]:
    """Return the keys of --json that speculation adds."""
    return {"proposed": out.proposed, "accepted": out.accepted, "rounds": out.rounds}


def speculative_rows(out: Any) -> list[tuple[str, str]]:
    """Return the rows of the table that speculation adds."""
    share = f" ({out.accepted / out.proposed:.0%})" if out.proposed else ""
    mean = (len(out.tokens) - 1) / out.rounds if out.rounds else 0.0
    return [
        ("rounds", f"{out.rounds}, with {mean:.2f} tokens each"),
        ("draft tokens", f"{out.proposed} proposed, {out.accepted} accepted{share}"),
    ]
