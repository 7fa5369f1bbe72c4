"""Is an answer right? It is compared with the plain answer, and with the expected logits where they are known.

A plain answer is that of a prompt alone, with the plainest options. Decoding is greedy.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from minillm.arrays import Array
from minillm.sampling import log_probabilities
from minillm.support.wording import counted
from minillm.verification.comparison import scale, tie_gap
from minillm.verification.engine_protocol import Engine, Options

LENGTH, END = ("length", "max_tokens"), ("eos", "stop", "end")  # the words for why an answer ended


class Answer(NamedTuple):
    """An answer of an engine. A log-probability belongs to each token. `finish` is None if the engine does not say."""

    tokens: list[int]
    logprobs: list[float] | None = None
    finish: str | None = None


def end_tokens(options: Options) -> set[int] | None:
    """Return the tokens that end an answer; None if the engine has no such option, and ends where it will."""
    if "eos" not in options:
        return None
    value = options["eos"]
    return {value} if isinstance(value, int) else set(value or ())


def plain_answer(engine: Engine, prompt: Sequence[int], limit: int) -> Answer:
    """Return the answer to a prompt alone, with the plainest options."""
    options = plainest(engine)
    answers = engine.generate([list(prompt)], {"max_new_tokens": limit, **options})
    if len(answers) != 1:
        engine.fail(f"generate returned {counted(len(answers), 'answer')} for 1 prompt")
    answer = checked_answer(engine, answers[0])
    AnswerJudge(engine, prompt, limit, end_tokens(options)).check_end(answer, None)
    return answer


def plainest(engine: Engine) -> dict[str, Any]:
    """Return the plainest value of each option."""
    return {name: values[0] for name, values in engine.options.items()}


def check_greedy(engine: Engine, prompt: Sequence[int], limit: int) -> None:
    """Raise AssertionError if a token of the plain answer does not have the largest expected logit."""
    answer = plain_answer(engine, prompt, limit)
    AnswerJudge(engine, prompt, limit, end_tokens(plainest(engine))).judge(answer, None)


def check_rest(engine: Engine, prompt: Sequence[int], limit: int, first: int) -> None:
    """Raise AssertionError if an answer does not go on after its first tokens as the answer to a longer prompt does."""
    whole = plain_answer(engine, prompt, limit)
    if first < len(whole.tokens):
        longer, left = [*prompt, *whole.tokens[:first]], limit - first
        alone = plain_answer(engine, longer, left)
        rest = Answer(whole.tokens[first:], whole.logprobs and whole.logprobs[first:], whole.finish)
        name = f"the answer to {list(prompt)}, from its token {first} on, "
        AnswerJudge(engine, longer, left, end_tokens(plainest(engine)), name).judge(rest, alone)


def check_stream(engine: Engine, prompt: Sequence[int], limit: int, options: Options) -> None:
    """Raise AssertionError if the streamed tokens are not the plain answer of the prompt."""
    plain = plain_answer(engine, prompt, limit) if engine.has("generate") else None
    streamed = engine.stream(prompt, {"max_new_tokens": limit, **options})
    tokens = [token for piece in streamed for token in (piece if isinstance(piece, list | tuple) else [piece])]
    AnswerJudge(engine, prompt, limit, end_tokens(options)).judge(checked_answer(engine, [tokens]), plain)


def check_answers(engine: Engine, requests: Sequence[Sequence[int]], limit: int, options: Options) -> None:
    """Raise AssertionError if an answer is not the plain answer of its prompt."""
    plain = [plain_answer(engine, prompt, limit) for prompt in requests]
    n = options.get("n", 1)
    answers = engine.generate([list(prompt) for prompt in requests], {"max_new_tokens": limit, **options})
    if len(answers) != n * len(requests):
        expected = f"{counted(len(requests), 'prompt')} and n={n}"
        engine.fail(f"generate returned {counted(len(answers), 'answer')} for {expected}")
    for number, answer in enumerate(answers):
        judge = AnswerJudge(engine, requests[number // n], limit, end_tokens(options), f"answer {number} ")
        judge.judge(checked_answer(engine, answer), plain[number // n])


def checked_answer(engine: Engine, answer: Sequence[Any]) -> Answer:
    """Return what an engine returned as an Answer. Raise AssertionError if it is not one."""
    found = Answer(*answer)
    if not all(0 <= token < engine.vocab_size for token in found.tokens):
        engine.fail(f"an answer has the tokens {list(found.tokens)}; expected ids from 0 to {engine.vocab_size - 1}")
    if found.logprobs is not None and len(found.logprobs) != len(found.tokens):
        numbers = counted(len(found.logprobs), "log-probability", "log-probabilities")
        engine.fail(f"an answer has {counted(len(found.tokens), 'token')} and {numbers}")
    return found


class AnswerJudge:
    """Compares one answer with the plain answer, and with the expected logits where they are known."""

    def __init__(
        self, engine: Engine, prompt: Sequence[int], limit: int, ends: set[int] | None, name: str = ""
    ) -> None:
        """Judge answers to a prompt. They have at most `limit` tokens, and end with one of the tokens `ends`."""
        self.engine, self.prompt, self.limit, self.ends, self.name = engine, list(prompt), limit, ends, name

    def judge(self, found: Answer, plain: Answer | None) -> None:
        """Raise AssertionError at the first token that is wrong, or if the answer does not end where it must.

        Without a plain answer, and after a tie, each token must have the largest expected logit.
        """
        for index, token in enumerate(found.tokens[: self.limit]):
            before = found.tokens[:index]
            if plain and index == len(plain.tokens):
                self.fail(f"continues after {list(before)}, where the plain answer ends")
            if plain is None or token != plain.tokens[index]:
                self.check_choice(before, token, plain)
                plain = None
            self.check_logprob(found, plain, index)
        self.check_end(found, plain)

    def expected(self, tokens: Sequence[int]) -> Array | None:
        """Return the expected logits after the prompt and these tokens; None if they are not known."""
        return self.engine.naive([*self.prompt, *tokens]) if self.engine.has("naive") else None

    def check_choice(self, before: Sequence[int], token: int, plain: Answer | None) -> None:
        """Check a token that is not the plain answer's: both must be tied with the largest expected logit."""
        text, logits = [*self.prompt, *before], self.expected(before)
        if logits is None:
            if plain:
                self.fail(f"has {token} after {text}; expected {plain.tokens[len(before)]}")
            return
        better = plain.tokens[len(before)] if plain else int(logits.argmax())
        if not {token, better} <= self.tied(logits):
            pair = f"expected logits {logits[token]:.6g} and {logits[better]:.6g}"
            self.fail(f"has {token} after {text}; expected {better} ({pair})")
        if token != better:
            self.engine.add_tie(f"{self.name}after {text}, {token} and {better} are tied")

    def tied(self, logits: Array) -> set[int]:
        """Return the token with the largest expected logit, and those that the tolerance could exchange with it."""
        return {token for token in range(len(logits)) if tie_gap(logits, token) <= 2 * self.engine.tolerance}

    def check_logprob(self, found: Answer, plain: Answer | None, index: int) -> None:
        """Compare a log-probability with the plain answer's, or with the expected one."""
        if found.logprobs is None:
            return
        number, token, logits = found.logprobs[index], found.tokens[index], self.expected(found.tokens[:index])
        if plain and plain.logprobs is not None:
            expected = plain.logprobs[index]
        elif logits is not None:
            expected = float(log_probabilities(logits)[token])
        else:
            return
        size = scale(logits) if logits is not None else max(1.0, abs(expected))
        difference = abs(number - expected) / (2 * size)  # the logit and the sum over all logits can be off
        if not difference <= self.engine.tolerance:
            self.fail(f"has the log-probability {number:.6g} of token {index} ({token}); expected {expected:.6g}")
        self.engine.add_difference(difference)

    def check_end(self, found: Answer, plain: Answer | None) -> None:
        """Check that the answer ends at its first end token, or before it, or after `limit` tokens."""
        count, ends = len(found.tokens), self.ends or set()
        end = next((index for index, token in enumerate(found.tokens) if token in ends), None)
        if end is not None and end + 1 < count:
            self.fail(f"continues after the end token {found.tokens[end]}: {list(found.tokens)}")
        if count > self.limit or (end is None and count < self.limit and not self.may_end(found, plain)):
            self.fail(f"has {counted(count, 'token')}; expected {self.limit}{', or an end token' * bool(ends)}")
        if ends:
            self.engine.add_end(end is not None or count < self.limit)
        if end is not None or count < self.limit:
            self.check_finish(found, END)
        else:
            self.check_finish(found, LENGTH if self.ends is not None else (*LENGTH, *END))

    def may_end(self, found: Answer, plain: Answer | None) -> bool:
        """Return whether the next token would be an end token, which an engine may leave out."""
        count = len(found.tokens)
        if self.ends is None:
            return plain is None or len(plain.tokens) == count
        next_tokens = set(plain.tokens[count : count + 1]) if plain else set()
        logits = self.expected(found.tokens)
        return bool((next_tokens if logits is None else next_tokens | self.tied(logits)) & self.ends)

    def check_finish(self, found: Answer, words: tuple[str, ...]) -> None:
        """Check why the answer ended."""
        if found.finish is not None and found.finish not in words:
            self.fail(f"has the tokens {list(found.tokens)} and ended by {found.finish!r}; expected {words[0]!r}")

    def fail(self, what: str) -> None:
        """Raise AssertionError."""
        self.engine.fail(f"{self.name or 'the answer '}{what}")
