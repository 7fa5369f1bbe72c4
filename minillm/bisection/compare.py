"""compare: two sides, as a person types them, run on the same tokens; what `minillm bisect` does."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from minillm.bisection import commits, engine_file
from minillm.bisection.local import LocalRunner
from minillm.bisection.observed import Observed, Wanted
from minillm.bisection.report import Report
from minillm.bisection.schedule import plan
from minillm.bisection.search import Observe, search
from minillm.bisection.side import Side
from minillm.bisection.transport import Job
from minillm.loading import Checkpoint, open_checkpoint
from minillm.loading.load import load
from minillm.support.wording import counted

Tell = Callable[[str], None]


class Runner(Protocol):
    """One side of the comparison, ready to run."""

    @property
    def vocab_size(self) -> int:
        """The number of tokens that exist."""

    def greedy(self, prompt: list[int], new_tokens: int) -> list[int]:
        """Return the prompt and the greedy tokens after it, without the last one, which would not run."""

    def observe(self, tokens: list[int], prompt_tokens: int, wanted: Wanted) -> Observed:
        """Run the schedule over the tokens, and keep what is wanted."""


@dataclass(frozen=True)
class Question:
    """What is to be compared.

    Attributes:
        a, b: the two sides.
        prompt: a text, or token ids.
        model: as `minillm.load` takes it.
        answer: the text after the prompt; None for the greedy tokens of A.
        new_tokens: the number of these. The last one does not run: nothing comes after it.
        tolerance: the relative difference up to which numbers count as equal.
        dtype, weights: as `minillm.load` takes them.
    """

    a: Side
    b: Side
    prompt: str | list[int]
    model: str = "story"
    answer: str | None = None
    new_tokens: int = 8
    tolerance: float = 0.0
    dtype: str = "float32"
    weights: str = "float32"


def compare(question: Question, tell: Tell = lambda what: None) -> Report:
    """Run both sides, and return where they differ first.

    Args:
        question: what to compare.
        tell: is called with the name of each run before it begins.

    Raises:
        ValueError: a schedule does not fit the tokens, the vocabularies differ, a commit does not exist, ...
        OSError: a file cannot be read, or a backend is not installed.

    Example:
        >>> from minillm.bisection.compare import Question, compare
        >>> from minillm.bisection.side import parse_side
        >>> sides = [parse_side(text, backend="exact") for text in ("whole", "chunk 2, block 4")]
        >>> compare(Question(*sides, prompt="The capital of France is", new_tokens=2)).verdict
        'equal to the bit in all 480 operations'
    """
    with ExitStack() as stack:
        checkpoint = open_checkpoint(question.model)
        a, b = _runners(question, checkpoint, stack)
        if a.vocab_size != b.vocab_size:
            raise ValueError(
                f"{question.a.engine} has a vocabulary of {counted(a.vocab_size, 'token')} and {question.b.engine} one "
                f"of {b.vocab_size}; expected two engines for one model (see --model)"
            )
        own = a.vocab_size != checkpoint.config.vocab_size
        prompt = _token_ids(question, checkpoint, a.vocab_size)
        tokens = _tokens(question, checkpoint, prompt, a)
        for side in (question.a, question.b):
            plan(side.schedule, len(prompt), len(tokens))  # refuses a schedule before anything runs
        found = search(
            _told(tell, f"A: {question.a}", partial(a.observe, tokens, len(prompt))),
            _told(tell, f"B: {question.b}", partial(b.observe, tokens, len(prompt))),
            question.tolerance,
        )
    return Report(
        str(question.a),
        str(question.b),
        "a model of the engine's own" if own else question.model,
        tokens,
        [] if own or checkpoint.tokenizer is None else [checkpoint.tokenizer.token_text(token) for token in tokens],
        len(prompt),
        question.tolerance,
        found,
        _expected(question.a, question.b),
        "file" in (question.a.kind, question.b.kind),
        own,
    )


def _told(tell: Tell, name: str, observe: Observe) -> Observe:
    """Return a function that tells which run begins, and then makes it."""

    def run(wanted: Wanted) -> Observed:
        tell(name)
        return observe(wanted)

    return run


def _expected(a: Side, b: Side) -> str:
    """Return what is to be expected of two sides, one of `meaning.EXPECTED`."""
    if a.schedule.cache_dtype != b.schedule.cache_dtype:
        return "int8 cache"
    return "no difference" if all((side.kind, side.engine) == ("backend", "exact") for side in (a, b)) else "rounding"


def _runners(question: Question, checkpoint: Checkpoint, stack: ExitStack) -> tuple[Runner, Runner]:
    """Return what runs each side. Two sides on one backend share the model."""
    models = {}
    runners: list[Runner] = []
    for side in (question.a, question.b):
        if side.kind == "file":
            runners.append(stack.enter_context(engine_file.opened(side.engine, question.model, side.schedule)))
        elif side.kind == "commit":
            size = checkpoint.config.vocab_size
            runners.append(stack.enter_context(commits.checked_out(side.engine, _job(question, side), size)))
        else:
            if side.engine not in models:
                models[side.engine] = load(question.model, side.engine, question.dtype, question.weights)
            runners.append(LocalRunner(models[side.engine], side.schedule))
    return runners[0], runners[1]


def _job(question: Question, side: Side) -> Job:
    """Return what a process for a commit is asked, without the tokens. It runs in another folder."""
    model = str(Path(question.model).absolute()) if Path(question.model).exists() else question.model
    backend, schedule = side.backend, str(side.schedule)
    return Job(model, backend, question.dtype, question.weights, schedule, [], 0, 0, [])


def _token_ids(question: Question, checkpoint: Checkpoint, vocab_size: int) -> list[int]:
    """Return the token ids of the prompt."""
    if not isinstance(question.prompt, str):
        wrong = [token for token in question.prompt if not 0 <= token < vocab_size]
        if wrong or not question.prompt:
            found = f"found {wrong[0]}" if wrong else "found none"
            raise ValueError(f"tokens: expected token ids from 0 to {vocab_size - 1}, {found}")
        return list(question.prompt)
    if vocab_size != checkpoint.config.vocab_size or checkpoint.tokenizer is None:
        raise ValueError(
            f"the engine has a vocabulary of {counted(vocab_size, 'token')} and no tokenizer for it; give token ids as "
            "the prompt, such as --tokens 1,2,3"
        )
    ids = checkpoint.tokenizer.encode_prompt(question.prompt, checkpoint.config.max_position_embeddings)
    if not ids:
        raise ValueError("the prompt is empty, and the tokenizer has no BOS to begin with; expected some text")
    return [int(token) for token in ids]


def _tokens(question: Question, checkpoint: Checkpoint, prompt: list[int], a: Runner) -> list[int]:
    """Return the prompt and the tokens after it that both sides run."""
    context, room = checkpoint.config.max_position_embeddings, question.new_tokens - 1
    after: list[int] | None = None
    if question.answer is not None:
        if checkpoint.tokenizer is None:
            raise ValueError(f"{question.model} has no tokenizer for the answer; leave out --answer")
        after = [int(token) for token in checkpoint.tokenizer.encode(question.answer)]
        room = len(after)
    if len(prompt) + room > context:
        raise ValueError(
            f"{counted(len(prompt), 'token')} of prompt and {room} after it are more than the model's context of "
            f"{context}; expected a shorter prompt, or fewer new tokens"
        )
    return prompt + after if after is not None else a.greedy(prompt, question.new_tokens)
