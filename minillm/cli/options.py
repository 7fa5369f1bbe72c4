"""The options that several commands share, and their checks."""

import argparse
from pathlib import Path
from typing import Any

from minillm.completion import DEFAULT_NEW_TOKENS
from minillm.sampling import Sampling
from minillm.support.checks import check_integer, is_utf8

DEFAULT_MODEL, DEFAULT_CHAT_MODEL = "story", "smollm2"  # story ships with minillm, but cannot chat


def add_model_options(parser: Any, default: str = DEFAULT_MODEL, more_weights: str = "") -> None:
    """Add --model, --backend, --dtype, --weights and --json. `more_weights` ends the help of --weights."""
    parser.add_argument(
        "--model",
        default=default,
        help=f"a name from `minillm models` (default {default}), a folder, a .gguf file, or hf:org/name",
    )
    parser.add_argument(
        "--backend",
        default="numpy",
        help="numpy (the default), compiled (the fastest on a CPU), plain (like the formulas), exact (the same bits on "
        "every machine) or cupy (GPU)",
    )
    parser.add_argument(
        "--dtype", default="float32", help="float32 (default) or float64; with cupy also float16, bfloat16"
    )
    add_weights_option(parser, more_weights)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def add_weights_option(parser: Any, more: str = "") -> None:
    """Add --weights."""
    parser.add_argument(
        "--weights",
        default="float32",
        metavar="FORMAT",
        help="of the matrices: float32 (default; or what --dtype says), bfloat16, int8, int4, stored (as in the file)"
        + more,
    )


def add_layers_option(parser: Any) -> None:
    """Add --stream-layers."""
    parser.add_argument(
        "--stream-layers",
        action="store_true",
        help="leave the layers in the file, and read them from there in every pass: for models larger than the memory",
    )


def layers_from(options: argparse.Namespace) -> str:
    """Return --stream-layers as `load` takes it."""
    return "streamed" if getattr(options, "stream_layers", False) else "loaded"


def add_cache_option(parser: Any) -> None:
    """Add --kv-cache."""
    parser.add_argument(
        "--kv-cache",
        metavar="FORMAT",
        help="int8: store keys and values in 8 bits, in about a quarter of the memory (default: the model's dtype)",
    )


def cache_dtype_from(options: argparse.Namespace) -> str | None:
    """Return --kv-cache as `KVCache` takes it.

    Raises:
        ValueError: it is neither int8 nor left out.
    """
    if options.kv_cache not in (None, "int8"):
        raise ValueError(f"--kv-cache is {options.kv_cache[:40]!r}; expected int8, or leave it out")
    return str(options.kv_cache) if options.kv_cache else None


def add_sampling_options(parser: Any) -> None:
    """Add one option for each field of Sampling, and --max-new-tokens."""
    add = parser.add_argument
    add("--max-new-tokens", type=int, metavar="N", help="stop after N tokens (default: 256, or what the context holds)")
    add("--temperature", type=float, default=0.0, metavar="T", help="0 takes the most probable token (default)")
    add("--top-k", type=int, metavar="K", help="sample from the K most probable tokens (0 or -1: from all)")
    add("--top-p", type=float, default=1.0, metavar="P", help="sample from the fewest tokens that reach probability P")
    add("--min-p", type=float, default=0.0, metavar="P", help="drop tokens below P times the largest probability")
    add("--repetition-penalty", type=float, default=1.0, metavar="R", help="above 1: repeat less (default 1)")
    add("--seed", type=int, metavar="S", help="make sampling repeatable")
    stop_help = r"end the output before this text, taken literally ($'\n' is a line end in bash); may be repeated"
    add("--stop", action="append", default=[], metavar="TEXT", help=stop_help)
    add("--ignore-eos", action="store_true", help="continue after an end-of-sequence token")


def add_page_options(parser: Any) -> None:
    """Add --json and --markdown, which exclude each other."""
    page = parser.add_mutually_exclusive_group()
    page.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    page.add_argument("--markdown", action="store_true", help="print a page of Markdown")


def sampling_from(options: argparse.Namespace, logprobs: int | None = None) -> Sampling:
    """Return the Sampling that the options describe, with the log-probabilities of the `logprobs` best tokens.

    Raises:
        ValueError: an option is out of range.
    """
    return Sampling(
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        min_p=options.min_p,
        repetition_penalty=options.repetition_penalty,
        seed=options.seed,
        stop=options.stop,
        logprobs=logprobs,
        ignore_eos=options.ignore_eos,
    )


def max_new_tokens_from(options: argparse.Namespace, room: int) -> int:
    """Return --max-new-tokens, or by default 256, or `room` if that is less.

    Raises:
        ValueError: --max-new-tokens is not from 1 to `room`.
    """
    if options.max_new_tokens is None:
        return min(DEFAULT_NEW_TOKENS, room)
    return check_integer("--max-new-tokens", options.max_new_tokens, 1, room)


def prompt_ids(model: Any, prompt: Any, raw: bool) -> list[int]:
    """Return the token ids of a prompt.

    Chat messages go through the chat template. So does a text, unless it is empty, `raw`, or the model has no template.

    Raises:
        ValueError: the prompt has not one token, or more than the model's context.
    """
    from minillm.generation import encode_prompt

    chat = isinstance(prompt, str) and prompt and not raw and model.tokenizer.chat_template is not None
    return encode_prompt(model, [{"role": "user", "content": prompt}] if chat else prompt)


def check_plot_file(plot: str | None) -> None:
    """Check --plot before minutes of work.

    Raises:
        ValueError: the name does not end in .svg, or its folder does not exist.
    """
    if plot is None:
        return
    if Path(plot).suffix != ".svg":
        raise ValueError(f"--plot is {plot[:80]!r}; expected a name that ends in .svg")
    check_folder_of("--plot", plot)


def check_folder_of(option: str, file: str) -> None:
    """Raise ValueError if the folder of this file does not exist."""
    folder = Path(file).absolute().parent
    if not folder.is_dir():
        raise ValueError(f"{option}: there is no folder {folder}")


def check_utf8(name: str, text: str) -> None:
    """Raise ValueError if the text was not UTF-8: Python keeps its invalid bytes as lone surrogates."""
    if not is_utf8(text):
        raise ValueError(f"{name}: expected text in UTF-8")


def encoded(model: Any, line: Any, raw: bool) -> tuple[list[int], int]:
    """Return the token ids of a line's prompt, as `generate` encodes it, and its maximum of new tokens."""
    return prompt_ids(model, line.prompt, raw), line.max_new_tokens or DEFAULT_NEW_TOKENS
