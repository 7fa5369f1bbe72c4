"""Make the corpus on which the story models are trained: python scripts/make_corpus.py --out corpus

Writes train.jsonl, heldout.jsonl, and finish.jsonl: new text in a different mixture, for the end of the training. Each
line is an object {"kind": ..., "text": ...}. The same seed gives the same bytes.
"""

import argparse
import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

from corpus import counting, facts, patterns, probes, stories, sums
from rich.console import Console
from rich.progress import track
from tokenizers import Tokenizer

# Each kind's share of the tokens.
MIXTURE = {
    "story": 0.52,  # of all abilities, keeping the names of a story straight needs the most examples
    "sum": 0.19,
    "capital": 0.04,
    "colour": 0.01,
    "opposite": 0.015,
    "sound": 0.01,
    "calendar": 0.01,
    "counting": 0.115,  # sequences, and a share of NEXT_NUMBER_SHARE of questions for the next number
    "copy": 0.03,
    "repeat": 0.025,
    "reverse": 0.035,
}
# More counting: where to stop is the last thing that the model learns.
FINISH_MIXTURE = {
    "story": 0.42,
    "sum": 0.10,
    "capital": 0.03,
    "colour": 0.01,
    "opposite": 0.015,
    "sound": 0.005,
    "calendar": 0.01,
    "counting": 0.35,
    "copy": 0.015,
    "repeat": 0.015,
    "reverse": 0.03,
}
FINISH_SHARE = 0.145  # tokens of finish.jsonl over those of train.jsonl
NEXT_NUMBER_SHARE = 0.1  # share of the counting documents
SAMPLE = 400  # documents of each kind from which the mean number of tokens is measured
TOKENIZER = Path(__file__).parents[1] / "weights/story/tokenizer.json"


def documents(kind: str, seed: int | str) -> Iterator[str]:
    """Yield training documents of a kind without end. Stories include the held-out ones."""
    rng = Random(f"{seed} {kind}")
    if kind == "story":
        return stories.documents(rng)
    if kind == "sum":
        return sums.documents(rng)
    if kind in patterns.TASKS:
        return patterns.documents(kind, rng)
    return _both_countings(rng) if kind == "counting" else facts.documents(kind, rng)


def make_corpus(
    tokens: int, seed: int | str, tokenizer: Tokenizer, mixture: dict[str, float] = MIXTURE
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return (kind, text) of the training documents and of the held-out documents, each shuffled.

    Args:
        tokens: the approximate number of tokens of the training documents, including end tokens.
        seed: the same seed gives the same corpus.
        tokenizer: counts the tokens of a sample of each kind.
        mixture: the share of each kind.
    """
    train, heldout = [], [(probe.kind, probe.prompt + probe.answer) for probe in _heldout_probes()]
    for kind, share in track(mixture.items(), "documents", console=Console(stderr=True)):
        count = round(tokens * share / _tokens_a_document(kind, seed, tokenizer))
        for text in islice(documents(kind, seed), count):
            (heldout if kind == "story" and stories.is_heldout(text) else train).append((kind, text))
    heldout = list(dict.fromkeys(heldout))
    for split in (train, heldout):
        Random(seed).shuffle(split)
    return train, heldout


def write_jsonl(path: Path, split: list[tuple[str, str]]) -> None:
    """Write the documents of a split, atomically."""
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps({"kind": kind, "text": text}) + "\n" for kind, text in split)
    os.replace(unfinished, path)


def _both_countings(rng: Random) -> Iterator[str]:
    sequences, neighbours = counting.documents(rng), facts.documents("counting", rng)
    while True:
        yield next(neighbours if rng.random() < NEXT_NUMBER_SHARE else sequences)


def _heldout_probes() -> list[probes.Probe]:
    groups = probes.all_probes()
    return [probe for name, group in groups.items() if name != "capitals" for probe in group]


def _tokens_a_document(kind: str, seed: int | str, tokenizer: Tokenizer) -> float:
    sample = list(islice(documents(kind, seed), SAMPLE))
    return sum(len(encoding.ids) + 1 for encoding in tokenizer.encode_batch(sample)) / len(sample)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--tokens", type=int, default=21_700_000, help="approximate number (default 21700000)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.tokens < 1:
        parser.error(f"--tokens is {options.tokens}; expected an integer of at least 1")
    if not TOKENIZER.exists():
        parser.error(f"{TOKENIZER} is missing; run scripts/train_tokenizer.py first")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        tokenizer = Tokenizer.from_file(str(TOKENIZER))
        train, heldout = make_corpus(options.tokens, options.seed, tokenizer)
        write_jsonl(options.out / "train.jsonl", train)
        finish_tokens, finish_seed = round(options.tokens * FINISH_SHARE), f"{options.seed} finish"
        finish, _ = make_corpus(finish_tokens, finish_seed, tokenizer, FINISH_MIXTURE)
        write_jsonl(options.out / "finish.jsonl", finish)
        write_jsonl(options.out / "heldout.jsonl", heldout)
    except OSError as problem:
        parser.error(str(problem))


if __name__ == "__main__":
    main()
