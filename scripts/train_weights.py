"""Train the bundled models: `story` in two runs, then two draft models: on the text alone, and distilled from `story`.

    python scripts/make_corpus.py --out build/training
    python scripts/train_weights.py                       # all runs; stop with Ctrl-C, and the same command resumes

All intermediate files are under --work: the packed corpus, a checkpoint every few minutes, and a loss curve of each
run. A run that was stopped and resumed gives exactly the same weights as one that was not.
"""

import os

# Before NumPy is imported: the trainer runs several threads itself, so each uses one BLAS thread.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import hashlib
import json
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import perf_counter

import numpy as np
from corpus import story_words
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from minillm.config import ModelConfig
from minillm.loading.tokenizer_folder import read_tokenizer
from minillm.training.batches import pack
from minillm.training.distill import distillation_loss
from minillm.training.emphasis import emphasised_loss
from minillm.training.export import export
from minillm.training.optimizer import Schedule
from minillm.training.parameters import ParameterVector, initialise, llama_config
from minillm.training.trainer import Loss, Trainer, next_token_loss

CONTEXT, VOCABULARY, BATCH, SEED = 512, 2048, 6, 1
END_OF_TEXT = 0
SAVE_EVERY, REPORT_EVERY = 250, 50  # steps
WEIGHTS = Path(__file__).parents[1] / "weights"


@dataclass(frozen=True)
class Recipe:
    """One training run.

    Attributes:
        config: the architecture.
        schedule: the optimizer's recipe.
        corpus: the name of the corpus file.
        start: the run from whose weights this one starts, or None.
        teacher: the run whose model is the teacher, or None.
        emphasis: the weight of the choice among the names, and among the relatives, of a story.
    """

    config: ModelConfig
    schedule: Schedule
    corpus: str = "train"
    start: str | None = None
    teacher: str | None = None
    emphasis: float = 0


STORY = llama_config(VOCABULARY, 192, 512, layers=6, heads=6, kv_heads=2, context=CONTEXT)
DRAFT = llama_config(VOCABULARY, 64, 192, layers=2, heads=4, kv_heads=2, context=CONTEXT)
RECIPES = {
    "story-base": Recipe(STORY, Schedule(steps=7000, weight_decay=0.1), emphasis=4),
    "story": Recipe(
        STORY,
        Schedule(steps=1000, learning_rate=1.5e-3, warmup_steps=50, weight_decay=0.1),
        corpus="finish",
        start="story-base",
        emphasis=4,
    ),
    "story-draft-text": Recipe(DRAFT, Schedule(steps=2000)),  # only for comparison
    "story-draft": Recipe(DRAFT, Schedule(steps=2000), teacher="story"),
}
SHIPPED = ("story", "story-draft")


def main() -> int:
    """Train the models that the command line names. Return the exit code."""
    parser = argparse.ArgumentParser(
        description="Train the bundled models. Stop with Ctrl-C; the same command resumes."
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(RECIPES)}; all by default")
    parser.add_argument("--work", type=Path, default=Path("build/training"), help="corpus, checkpoints, loss curves")
    options = parser.parse_args()
    unknown = [name for name in options.models if name not in RECIPES]
    if unknown:
        parser.error(f"no model {unknown[0]!r}; expected some of {', '.join(RECIPES)}")
    for name in options.models or RECIPES:
        parameters = train(name, options.work)
        if parameters is None:
            print(f"{name}: stopped and saved; run the same command to resume", file=sys.stderr)
            return 130
        folder = (WEIGHTS if name in SHIPPED else options.work) / name
        export(parameters, folder)
        (folder / "loss.csv").write_text(loss_curves(name, options.work))
        for file in (WEIGHTS / "story").glob("tokenizer*.json"):
            if folder != file.parent:
                shutil.copy(file, folder)
    return 0


def packed_rows(corpus: Path) -> np.ndarray:
    """Return a corpus file as rows of token ids, `[rows, CONTEXT + 1]`.

    The rows are saved, and made again if the file or the tokenizer has changed.
    """
    file, partial = corpus.with_suffix(".npy"), corpus.with_suffix(".partial.npy")
    sources = corpus, WEIGHTS / "story" / "tokenizer.json"
    if not file.exists() or any(file.stat().st_mtime < source.stat().st_mtime for source in sources if source.exists()):
        print(f"packing {corpus} into rows ...", file=sys.stderr)
        np.save(partial, pack(encoded(corpus), CONTEXT, END_OF_TEXT).astype(np.int16))
        os.replace(partial, file)
    return np.load(file, allow_pickle=False)


def encoded(file: Path) -> Iterator[list[int]]:
    """Yield the token ids of each document of a corpus file."""
    if not file.exists():
        raise SystemExit(f"{file} is missing; make it with: python scripts/make_corpus.py --out {file.parent}")
    tokenizer = read_tokenizer(WEIGHTS / "story", (END_OF_TEXT,))
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield tokenizer.encode(json.loads(line)["text"])


def train(name: str, work: Path) -> ParameterVector | None:
    """Train one model, from its checkpoint if one exists. Return None if stopped before the end."""
    recipe, checkpoint = RECIPES[name], work / f"{name}.npz"
    parameters = trained(recipe.start, work) if recipe.start else initialise(recipe.config, SEED)
    rows, loss = packed_rows(work / f"{recipe.corpus}.jsonl"), loss_of(recipe, work)
    trainer = Trainer(parameters, recipe.schedule, rows, BATCH, loss, recipe=identity(recipe, work))
    if checkpoint.exists():
        trainer.resume(checkpoint)
    with stop_at_interrupt() as stop, live_bar(name, trainer) as advance:
        while trainer.step_number < recipe.schedule.steps and not stop.is_set():
            advance()
            if trainer.step_number % SAVE_EVERY == 0:
                trainer.save(checkpoint)
    trainer.save(checkpoint)
    write_curve(work / f"{name}.csv", trainer)
    return None if trainer.step_number < recipe.schedule.steps else trainer.parameters


def identity(recipe: Recipe, work: Path) -> str:
    """Return a text that identifies the run of a checkpoint: the recipe, and a hash of the teacher's weights."""
    teacher = trained(recipe.teacher, work).vector.tobytes() if recipe.teacher else b""
    return f"{recipe} {hashlib.sha256(teacher).hexdigest()}"


def loss_of(recipe: Recipe, work: Path) -> Loss:
    """Return the loss that a run minimises."""
    if recipe.teacher:
        return distillation_loss(trained(recipe.teacher, work), 0.5)
    return emphasised_loss(cast(), recipe.emphasis, END_OF_TEXT) if recipe.emphasis else next_token_loss


def cast() -> list[np.ndarray]:
    """Return the tokens of the names and of the relatives, `[words, forms]` each. Every form of a word is one token."""
    names = [(f" {name}", name) for name in story_words.GIRLS + story_words.BOYS]
    relatives = [(f" {adult['mom']}", f" {adult['ma']}", adult["ma"]) for adult in story_words.ADULTS]
    tokenizer = read_tokenizer(WEIGHTS / "story", (END_OF_TEXT,))
    groups = [np.array([[tokenizer.encode(form) for form in word] for word in group]) for group in (names, relatives)]
    assert all(group.shape[2] == 1 for group in groups), "a form of several tokens"
    return [group[..., 0] for group in groups]


def trained(name: str, work: Path) -> ParameterVector:
    """Return the weights of a finished run."""
    parameters = initialise(RECIPES[name].config, SEED)
    try:
        with np.load(work / f"{name}.npz", allow_pickle=False) as state:
            finished = len(state["losses"]) == RECIPES[name].schedule.steps
            parameters.vector[...] = state["vector"]
    except FileNotFoundError:
        finished = False
    if not finished:
        raise SystemExit(f"{name} is not trained yet; train it first")
    return parameters


@contextmanager
def stop_at_interrupt() -> Iterator[Event]:
    """Set the event at Ctrl-C or SIGTERM. The current step is still finished, so the state is complete."""
    stop = Event()
    before = [(number, signal.signal(number, lambda *_: stop.set())) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield stop
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextmanager
def live_bar(name: str, trainer: Trainer) -> Iterator:
    """Yield a function that takes one step and shows it: as a bar on a terminal, else as a line every few steps."""
    console = Console(stderr=True)
    columns = (
        TextColumn(name),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=trainer.schedule.steps, completed=trainer.step_number, text="")

        def advance() -> None:
            started = perf_counter()
            report = trainer.step()
            speed = report.tokens / (perf_counter() - started)
            loss = np.mean(trainer.losses[-REPORT_EVERY:])
            text = f"loss {loss:.3f}  gradient {report.gradient_norm:.2f}  {speed:,.0f} tokens/s"
            bar.update(task, completed=report.step, text=text)
            if not console.is_terminal and report.step % REPORT_EVERY == 0:
                print(f"{name}: step {report.step} of {trainer.schedule.steps}  {text}", file=sys.stderr, flush=True)

        yield advance


def write_curve(file: Path, trainer: Trainer) -> None:
    """Write the loss curve as CSV: the mean of every REPORT_EVERY steps, in nats per token."""
    lines = []
    for first in range(0, trainer.step_number, REPORT_EVERY):
        losses = trainer.losses[first : first + REPORT_EVERY]
        lines.append(f"{file.stem},{first + len(losses)},{np.mean(losses):.4f}\n")
    file.write_text("".join(lines))


def loss_curves(name: str, work: Path) -> str:
    """Return the curves of this run and of the runs that it started from, earliest first."""
    start = RECIPES[name].start
    before = loss_curves(start, work) if start else "run,step,loss\n"
    return before + (work / f"{name}.csv").read_text()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError) as problem:
        print(f"train_weights: {problem}", file=sys.stderr)
        sys.exit(2)
