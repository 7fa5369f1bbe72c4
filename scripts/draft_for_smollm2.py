"""Try a distilled draft model for smollm2. The results are in docs/draft-for-smollm2.md.

    python scripts/draft_for_smollm2.py texts           # smollm2 answers questions; its most probable tokens are stored
    python scripts/draft_for_smollm2.py train wide      # a draft model is trained on them
    python scripts/draft_for_smollm2.py measure wide    # acceptance and speedup

Ctrl-C stops each step, and the same command resumes it: answers are saved in batches, training in checkpoints.
"""

import sys

if sys.argv[1:2] == ["train"]:  # the trainer's threads use one BLAS thread each; the other steps use all
    import train_weights  # noqa: F401  before NumPy, which reads the variables that it sets

import argparse
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from chat_questions import HELD_OUT, QUESTIONS

import minillm
from minillm import Engine, Model, Sampling, forward
from minillm.batching import Request
from minillm.benchmark.speculation import interpolated, measure_speculation
from minillm.estimate.speculation import acceptance_rate, best_k, speedup
from minillm.loading import open_checkpoint
from minillm.loading.checkpoint import Checkpoint
from minillm.sampling import probabilities
from minillm.support.progress import progress_on_stderr
from minillm.training.distill import Favourites, favourites_loss, projected_embedding
from minillm.training.export import export
from minillm.training.optimizer import Schedule
from minillm.training.parameters import ParameterVector, initialise, llama_config
from minillm.training.trainer import Trainer

TARGET = "smollm2"
TEXTS, TOGETHER = 28, 32  # number of files, and of answers in each file, which are one batch of the engine
ANSWER_TOKENS, TEMPERATURE, KEPT = 256, 0.8, 32  # KEPT: the most probable tokens that are stored at each position
TIME, BATCH, SEED, SAVE_EVERY = 256, 4, 1, 100
TEACHER_TEMPERATURE = 0.5  # below 1, because greedy decoding accepts the most probable token only
MEASURED_TOKENS, JUDGED_TOKENS, ROUNDS = 256, 64, 1


@dataclass(frozen=True)
class Recipe:
    """One draft model: its shape, and the number of passes over the texts."""

    dim: int
    inner: int
    layers: int
    passes: int


RECIPES = {
    "wide": Recipe(dim=128, inner=384, layers=1, passes=3),
    "narrow": Recipe(dim=64, inner=192, layers=2, passes=2),
}


def main() -> int:
    """Run one step. Return the exit code."""
    parser = argparse.ArgumentParser(
        description="Try a distilled draft model for smollm2. Stop with Ctrl-C; the same command resumes."
    )
    parser.add_argument("step", choices=("texts", "train", "measure"))
    parser.add_argument("draft", nargs="?", choices=RECIPES, default="wide", help="wide by default")
    parser.add_argument("--work", type=Path, default=Path("build/draft"), help="texts, checkpoints, drafts, records")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.step == "texts":
        write_texts(minillm.load(TARGET), options.work)
    elif options.step == "train":
        return 0 if train(options.draft, options.work) else 130
    else:
        measure(minillm.load(TARGET), minillm.load(options.work / options.draft), options.work / options.draft)
    return 0


def write_texts(model: Model, work: Path) -> None:
    """Write files of conversations, end to end, with the model's most probable next tokens at every position."""
    for number in range(TEXTS):
        file, partial = work / f"texts-{number:03}.npz", work / "partial.npz"
        if not file.exists():
            parts = [recorded(request, model) for request in answers(model, number)]
            np.savez(partial, **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
            os.replace(partial, file)
            print(f"{file}: {sum(len(part['tokens']) for part in parts):,} tokens", file=sys.stderr, flush=True)


def answers(model: Model, file: int) -> list[Request]:
    """Return the answers of one file. They depend only on its number, so files can be written in any order."""
    engine, requests = Engine(model), list[Request]()
    for seed in range(file * TOGETHER, (file + 1) * TOGETHER):
        sampling = Sampling(temperature=TEMPERATURE, seed=seed, logprobs=KEPT)
        requests.append(engine.submit(asked(model, QUESTIONS[seed % len(QUESTIONS)]), ANSWER_TOKENS, sampling))
    engine.run()
    return requests


def asked(model: Model, question: str) -> list[int]:
    """Return the question as a prompt."""
    return model.tokenizer.apply_chat_template([{"role": "user", "content": question}])


def recorded(request: Request, model: Model) -> dict[str, np.ndarray]:
    """Return one conversation: its `tokens`, and the `likely` next tokens with their `logits`, `[tokens, KEPT]` each.

    The engine reports the most probable tokens for the answer only. For a token of the prompt, the next token of the
    prompt gets probability 1.
    """
    tokens, first = np.array(request.completion.sequence, np.int32), request.completion.prompt_tokens
    certain = np.arange(KEPT) == 0
    likely = (np.append(tokens[1:], 0)[:, None] + np.arange(KEPT)) % model.config.vocab_size  # all different
    logits = np.tile(np.where(certain, 0, -np.inf), (len(tokens), 1))
    for position, entry in enumerate(request.logprobs, first - 1):
        likely[position], logits[position] = zip(*entry.best, strict=True)
    return {"tokens": tokens, "likely": likely.astype(np.int32), "logits": logits.astype(np.float32)}


def training_rows(work: Path) -> tuple[np.ndarray, Favourites]:
    """Return all texts end to end, cut into rows of TIME + 1 tokens and shuffled, and the teacher's results.

    Rows begin in the middle of texts. This is fine, because a draft model is used there too.
    """
    files = sorted(work.glob("texts-*.npz"))
    if not files:
        raise SystemExit(f"there are no texts in {work}; write them with: python {sys.argv[0]} texts")
    parts = [np.load(file, allow_pickle=False) for file in files]
    tokens, likely, logits = (np.concatenate([part[name] for part in parts]) for name in ("tokens", "likely", "logits"))
    order = np.random.default_rng(SEED).permutation((len(tokens) - 1) // TIME)
    positions = order[:, None] * TIME + np.arange(TIME + 1)  # [rows, TIME + 1]
    inputs = positions[:, :-1]
    return tokens[positions], Favourites(likely[inputs], logits[inputs])


def untrained(recipe: Recipe, target: Checkpoint) -> ParameterVector:
    """Return the initial draft model, with the target's vocabulary and end tokens, and its embedding projected."""
    size, context = target.config.vocab_size, target.config.max_position_embeddings
    config = llama_config(size, recipe.dim, recipe.inner, recipe.layers, 4, 4, context)
    config = replace(config, bos_token_id=target.config.bos_token_id, eos_token_ids=target.config.eos_token_ids)
    parameters = initialise(config, SEED)
    embedding = target.tensors["model.embed_tokens.weight"].read()
    parameters.embedding[...] = projected_embedding(embedding, recipe.dim)
    return parameters


def train(name: str, work: Path) -> bool:
    """Train a draft model, from its checkpoint if one exists, and export it. Return False if stopped before the end."""
    from train_weights import live_bar, stop_at_interrupt, write_curve

    recipe, checkpoint, target = RECIPES[name], work / f"{name}.npz", open_checkpoint(TARGET)
    rows, teacher = training_rows(work)
    schedule = Schedule(recipe.passes * len(rows) // BATCH)
    loss = favourites_loss(rows[:, :-1], teacher, TEACHER_TEMPERATURE)
    trainer = Trainer(untrained(recipe, target), schedule, rows, BATCH, loss)
    if checkpoint.exists():
        trainer.resume(checkpoint)
    with stop_at_interrupt() as stop, live_bar(name, trainer) as advance:
        while trainer.step_number < schedule.steps and not stop.is_set():
            advance()
            if trainer.step_number % SAVE_EVERY == 0:
                trainer.save(checkpoint)
    trainer.save(checkpoint)
    if trainer.step_number < schedule.steps:
        return False
    write_curve(work / f"{name}.csv", trainer)
    export(trainer.parameters, work / name)
    target.tokenizer.save(work / name)
    return True


def measure(target: Model, draft: Model, place: Path) -> None:
    """Time both decoders on the tasks of `minillm bench`. Then measure acceptance elsewhere, and its speedup."""
    with progress_on_stderr() as progress:
        bench = measure_speculation(target, [draft], MEASURED_TOKENS, ROUNDS, progress)
    keep(bench, place.with_suffix(".bench.json"))
    verify = interpolated({int(rows): cost for rows, cost in bench["verify_cost"].items()})
    cost, held_out = bench["cases"][-1]["draft_cost"], {}
    for kind, acceptance in acceptances(target, draft).items():
        k = best_k(acceptance, cost, 15, verify)
        held_out[kind] = {"acceptance": acceptance, "best_k": k, "times_plain": speedup(acceptance, k, cost, verify)}
    keep(held_out, place.with_suffix(".acceptance.json"))


def keep(record: dict[str, Any], file: Path) -> None:
    """Write a record to a file, and print it."""
    text = json.dumps(record, indent=2) + "\n"
    file.write_text(text)
    print(text, end="", flush=True)


def acceptances(target: Model, draft: Model, questions: list[str] = HELD_OUT) -> dict[str, float]:
    """Return the acceptance rate of draft tokens along the target model's own greedy and sampled answers."""
    agreed, overlaps = [], []
    for seed, question in enumerate(questions):
        prompt = asked(target, question)
        for sampling, found in ((Sampling(), agreed), (Sampling(temperature=1.0, seed=seed), overlaps)):
            new = minillm.generate(target, prompt, JUDGED_TOKENS, sampling).tokens
            rows = (forward(model, prompt + new)[len(prompt) - 1 : -1] for model in (target, draft))  # [new, vocab]
            pairs = zip(*rows, strict=True)
            found += [acceptance_rate(probabilities(p, sampling), probabilities(q, sampling)) for p, q in pairs]
    return {"greedy": float(np.mean(agreed)), "sampled": float(np.mean(overlaps))}


if __name__ == "__main__":
    sys.exit(main())
