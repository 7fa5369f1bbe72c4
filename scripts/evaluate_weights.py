"""Measure what the bundled models can do, on the stored files: the figures of their model cards.

    python scripts/make_corpus.py --out build/training       # the held-out split
    python scripts/evaluate_weights.py                        # prints everything; --cards also writes the model cards

Abilities are greedy answers to probes. The probes were never in the training text; for the capitals, the two main
phrasings were. An answer is correct if its whole text is. Acceptance is how often the draft model's most probable token
is the target model's, along the target model's own greedy stories. It is the share of draft tokens that greedy
speculative decoding accepts.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from corpus import consistency, probes
from rich.console import Console
from rich.progress import track

import minillm
from minillm import KVCache, Model, Sampling, forward, forward_batch

ROOT = Path(__file__).parents[1]
TOGETHER = 64  # prompts in one batch
STORIES, SHOWN_STORIES, STORY_TOKENS = 100, 20, 256
OPENING_TOKENS, ACCEPTED_TOKENS, ACCEPTANCE_STORIES = 12, 100, 100
BEGIN, END = "<!-- output of scripts/evaluate_weights.py -->", "<!-- end of output -->"
CONSOLE = Console(stderr=True)


def main() -> int:
    """Measure and print. With --cards, also write the output into the model cards."""
    parser = argparse.ArgumentParser(description="Measure the bundled models.")
    parser.add_argument("--work", type=Path, default=Path("build/training"), help="folder that holds heldout.jsonl")
    parser.add_argument("--cards", action="store_true", help="also write the output into weights/*/MODEL_CARD.md")
    options = parser.parse_args()
    heldout = heldout_documents(options.work)
    target, draft = (minillm.load(ROOT / "weights" / name) for name in ("story", "story-draft"))
    undistilled = minillm.load(options.work / "story-draft-text")
    sections = {
        "story": "\n".join(
            [*loss_curve("story"), *abilities(target), *perplexities(target, heldout), *sampled_stories(target)]
        ),
        "story-draft": "\n".join(
            [
                *loss_curve("story-draft"),
                *acceptances(target, draft, undistilled, heldout),
                *perplexities(draft, heldout),
            ]
        ),
    }
    for name, section in sections.items():
        print(f"## {name}\n\n{section}\n")
        if options.cards:
            write_card(ROOT / "weights" / name / "MODEL_CARD.md", section)
    return 0


def loss_curve(name: str) -> Iterator[str]:
    """Yield a table with some points of the loss curve of each training run."""
    lines = (ROOT / "weights" / name / "loss.csv").read_text(encoding="utf-8").splitlines()[1:]
    runs: dict[str, list[str]] = {}
    for line in lines:
        run, step, loss = line.split(",")
        runs.setdefault(run, []).append(f"{float(loss):.2f} at {step}")
    yield "| training run | loss, nats a token, at step |\n|---|---|"
    for run, points in runs.items():
        shown = points[:: max(1, len(points) // 6)] + points[-1:]
        yield f"| {run} | {', '.join(dict.fromkeys(shown))} |"
    yield ""


def heldout_documents(work: Path) -> list[dict[str, str]]:
    """Return the held-out documents, each {"kind", "text"}."""
    file = work / "heldout.jsonl"
    if not file.exists():
        raise SystemExit(f"{file} is missing; make it with: python scripts/make_corpus.py --out {work}")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def abilities(model: Model) -> Iterator[str]:
    """Yield a table of how many probes of each group are answered correctly."""
    yield "| asked | right | of | share |\n|---|---|---|---|"
    for name, group in probes.all_probes().items():
        right = sum(correct(model, group, name))
        yield f"| {name} | {right} | {len(group)} | {right / len(group):.1%} |"
    yield ""


def correct(model: Model, group: Sequence[probes.Probe], name: str = "") -> list[bool]:
    """Return for each probe whether the greedy continuation begins with the whole answer."""
    answers = []
    for first in track(range(0, len(group), TOGETHER), name, console=CONSOLE):
        batch = group[first : first + TOGETHER]
        longest = max(len(model.tokenizer.encode(probe.answer)) for probe in batch)
        answers += greedy_texts(model, [probe.prompt for probe in batch], longest)
    return [answer.startswith(probe.answer) for answer, probe in zip(answers, group, strict=True)]


def greedy_texts(model: Model, prompts: Sequence[str], new_tokens: int) -> list[str]:
    """Return the greedy continuations of prompts of different lengths, decoded in one batch."""
    tokens = [model.tokenizer.encode(prompt) for prompt in prompts]
    caches = [KVCache(model, len(ids) + new_tokens) for ids in tokens]
    new: list[list[int]] = [[] for _ in tokens]
    for _ in range(new_tokens):
        logits = forward_batch(model, list(zip(tokens, caches, strict=True)))  # [prompts, vocab]
        tokens = [[int(token)] for token in logits.argmax(axis=-1)]
        for ids, (token,) in zip(new, tokens, strict=True):
            ids.append(token)
    return [model.tokenizer.decode(ids) for ids in new]


def perplexities(model: Model, heldout: Sequence[dict[str, str]]) -> Iterator[str]:
    """Yield a table of perplexities of held-out documents by kind. The end of a text counts as a token."""
    yield "| held-out text | perplexity a token | tokens |\n|---|---|---|"
    for kind in sorted({document["kind"] for document in heldout}):
        texts = [document["text"] for document in heldout if document["kind"] == kind][:400]
        losses = np.concatenate([token_losses(model, text) for text in track(texts, kind, console=CONSOLE)])
        yield f"| {kind} | {math.exp(losses.mean()):.3f} | {len(losses)} |"
    yield ""


def token_losses(model: Model, text: str) -> np.ndarray:
    """Return -log p of every token after the first, and of the end of the text: `[tokens]`."""
    ids = [*model.tokenizer.encode(text), *model.config.eos_token_ids]
    logits = forward(model, ids[:-1]).astype(np.float64)  # [tokens, vocab]
    logits -= logits.max(axis=-1, keepdims=True)
    return np.log(np.exp(logits).sum(axis=-1)) - logits[np.arange(len(logits)), ids[1:]]


def acceptances(target: Model, draft: Model, undistilled: Model, heldout: Sequence[dict[str, str]]) -> Iterator[str]:
    """Yield a table of the greedy acceptance of both draft models, on stories with the openings of held-out stories."""
    texts = [document["text"] for document in heldout if document["kind"] == "story"][:ACCEPTANCE_STORIES]
    openings = [target.tokenizer.decode(target.tokenizer.encode(text)[:OPENING_TOKENS]) for text in texts]
    yield "| the same draft | greedy acceptance on stories |\n|---|---|"
    for name, model in {"distilled from story": draft, "trained on the text alone": undistilled}.items():
        yield f"| {name} | {acceptance(target, model, openings):.3f} |"
    yield ""


def acceptance(target: Model, draft: Model, openings: Sequence[str]) -> float:
    """Return the share of the target's greedy tokens that are also the draft model's most probable tokens."""
    agreed = []
    for opening in track(openings, "acceptance", console=CONSOLE):
        prompt = target.tokenizer.encode(opening)
        new = minillm.generate(target, prompt, ACCEPTED_TOKENS).tokens
        choices = forward(draft, prompt + new)[len(prompt) - 1 : -1].argmax(axis=-1)  # [new]
        agreed.append(choices == np.array(new))
    return float(np.concatenate(agreed).mean())


def sampled_stories(model: Model) -> Iterator[str]:
    """Yield how many stories at temperature 0.7 have no slips, then the first SHOWN_STORIES, unselected."""
    opening, told = "Once upon a time", []
    for seed in track(range(1, STORIES + 1), "stories", console=CONSOLE):
        told.append(opening + minillm.generate(model, opening, STORY_TOKENS, Sampling(temperature=0.7, seed=seed)).text)
    slips = [consistency.slips(story) for story in told]
    yield f'Stories at temperature 0.7 after "{opening}", seeds 1 to {STORIES}: {slips.count([])} of {STORIES} without'
    yield f"a slip (`scripts/corpus/consistency.py`). The first {SHOWN_STORIES}, unselected, with what was found:\n"
    for seed, (story, found) in enumerate(zip(told, slips, strict=True), 1):
        if seed <= SHOWN_STORIES:
            yield f"{seed}. {story}" + (f" **({'; '.join(found)})**" if found else "")
    yield ""


def write_card(file: Path, section: str) -> None:
    """Replace the text between the two marks of the card."""
    head, _, rest = file.read_text(encoding="utf-8").partition(BEGIN)
    file.write_text(f"{head}{BEGIN}\n\n{section}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
