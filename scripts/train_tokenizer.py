"""Train the story models' tokenizer, a byte-level BPE: python scripts/train_tokenizer.py

Writes tokenizer.json and tokenizer_config.json. The same seed and the same library version give the same bytes.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

from corpus import fact_tables, facts, patterns, stories, story_words
from make_corpus import documents
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCAB_SIZE = 2048
END = "<|endoftext|>"
SEED = 1
STORIES = 20_000
FACTS = 3_000  # documents of each kind
NAME_COPIES = 650  # of each word below, so that it becomes one or two tokens while stories still take few tokens


def texts() -> Iterator[str]:
    """Yield the texts from which the merges are learnt."""
    yield from islice(stories.documents(Random(SEED)), STORIES)
    for kind in (*facts.PHRASINGS, "sum", *patterns.TASKS):
        yield from islice(documents(kind, SEED), FACTS)
    for word in (*fact_tables.CAPITALS, *fact_tables.CAPITALS.values(), *patterns.WORDS):
        yield NAME_COPIES * f" {word}"
    for name in (*story_words.GIRLS, *story_words.BOYS, *(adult["ma"] for adult in story_words.ADULTS)):
        yield NAME_COPIES * f'"{name}'  # without a space: one token too, so that the name is easy to copy


def train() -> Tokenizer:
    """Train the tokenizer. Each digit is one token, so that numbers have a regular form. No BOS; the end token is 0."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return tokenizer


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).parents[1] / "weights/story/tokenizer.json"
    parser.add_argument("--out", type=Path, default=default, help=f"default {default}")
    out = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    train().save(str(out))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END}
    out.with_name("tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
