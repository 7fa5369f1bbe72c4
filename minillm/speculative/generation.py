"""Speculative generation: text in, text out, as in `generation.py`, with a draft that each pass verifies.

`stream` is here and not in `generation.py`, because with a drafter it speculates.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from minillm.completion import DEFAULT_NEW_TOKENS, Step
from minillm.generation import Generation, Output, Prompt, Timings
from minillm.model import Model
from minillm.sampling import Sampling
from minillm.speculative.draft_length import check_k
from minillm.speculative.speculator import DrafterChoice, Speculator
from minillm.support.checks import check_bool
from minillm.transformer import forward_batch


@dataclass(frozen=True)
class SpeculativeOutput(Output):
    """The result of one speculative request: that of `Output`, and three counts.

    Attributes:
        proposed: draft tokens that the model ran to verify them. Those after a rejection count as proposed, too.
        accepted: draft tokens that became tokens.
        rounds: forward passes of the model after the prompt's.

    Example:
        >>> model, draft = minillm.load("story"), minillm.load("story-draft")
        >>> out = minillm.speculative_generate(model, draft, "Once upon a time", max_new_tokens=20, k=4)
        >>> out.proposed, out.accepted, out.rounds  # 20 tokens: 1 of prefill, 14 accepted, 5 more
        (16, 14, 5)
    """

    proposed: int = 0
    accepted: int = 0
    rounds: int = 0


class SpeculativeGeneration(Generation):
    """One speculative request. Iterate over it once to run it; then read `output`."""

    def __init__(
        self,
        model: Model,
        drafter: DrafterChoice,
        prompt: Prompt,
        max_new_tokens: int = DEFAULT_NEW_TOKENS,
        sampling: Sampling | None = None,
        k: int | str = "auto",
        cache_dtype: str | None = None,
    ) -> None:
        """Check the arguments, which are those of `speculative_generate`, and encode the prompt.

        Raises:
            ValueError: a wrong argument, or a draft model whose tokens are not the model's.
        """
        super().__init__(model, prompt, max_new_tokens, sampling, cache_dtype=cache_dtype)
        self.speculation = Speculator(model, drafter, k, cache_dtype=cache_dtype).begin(self.completion)

    def _next_steps(self) -> list[Step]:
        """Make one round: one forward pass, and at least one new token."""
        completion, cache = self.completion, self.cache
        assert cache is not None
        draft_tokens = self.speculation.propose(completion)
        tokens = [*completion.sequence[cache.length :], *draft_tokens]
        logits = self.model.ops.to_host(forward_batch(self.model, [(tokens, cache)], [len(draft_tokens) + 1]))
        steps = self.speculation.verify(completion, logits)
        cache.truncate(len(completion.sequence) - 1)  # all but the last token, which the next round feeds
        return steps

    def _output(self, timings: Timings) -> SpeculativeOutput:
        plain, counts = super()._output(timings), self.speculation.counts
        values = {field.name: getattr(plain, field.name) for field in fields(plain)}
        return SpeculativeOutput(**values, proposed=counts.proposed, accepted=counts.accepted, rounds=counts.rounds)


def speculative_generate(
    model: Model,
    drafter: DrafterChoice,
    prompt: Prompt,
    max_new_tokens: int = DEFAULT_NEW_TOKENS,
    sampling: Sampling | None = None,
    k: int | str = "auto",
    cache_dtype: str | None = None,
) -> SpeculativeOutput:
    """Run one request to its end with the draft tokens of `drafter`: the same output from fewer passes of the model.

    Greedy text is that of `generate`, to the bit on the exact backend. Sampled text has the same distribution, but with
    the same seed the text differs, because more random numbers are drawn.

    Args:
        model: the target model, whose output it is.
        drafter: a smaller Model with the same tokens, `skip_layers(model)`, `PromptLookup()`, another object that
            satisfies `Drafter`, or a function that returns a new one.
        prompt, max_new_tokens, sampling: as in `generate`.
        k: draft tokens in a round, at most 511. "auto" follows what is accepted and what it costs, and stops drafting
            where it would lose.
        cache_dtype: "int8" to store keys and values in 8 bits, those of a draft model too.

    Raises:
        ValueError: a wrong argument, or a draft model whose tokens are not the model's.

    Example:
        >>> model, draft = minillm.load("story"), minillm.load("story-draft")
        >>> out = minillm.speculative_generate(model, draft, "The capital of France is", max_new_tokens=3, k=2)
        >>> out.text, out.tokens == minillm.generate(model, "The capital of France is", max_new_tokens=3).tokens
        (' Paris.', True)
    """
    generation = SpeculativeGeneration(model, drafter, prompt, max_new_tokens, sampling, k, cache_dtype)
    for _ in generation:
        pass
    assert isinstance(generation.output, SpeculativeOutput)
    return generation.output


def stream(
    model: Model,
    prompt: Prompt,
    max_new_tokens: int = DEFAULT_NEW_TOKENS,
    sampling: Sampling | None = None,
    use_cache: bool = True,
    drafter: DrafterChoice | None = None,
    k: int | str = "auto",
    cache_dtype: str | None = None,
) -> Iterator[str]:
    """Yield the text of one request as it becomes certain: never half a character, and nothing of a stop string.

    The arguments are checked at once; the model runs as the text is iterated over.

    Args:
        model, prompt, max_new_tokens, sampling, use_cache, cache_dtype: as in `generate`.
        drafter, k: as in `speculative_generate`; by default there is no speculation.

    Raises:
        ValueError: a wrong argument; or a drafter together with `use_cache=False`.

    Example:
        >>> model = minillm.load("story")
        >>> list(minillm.stream(model, "The capital of France is", max_new_tokens=3))
        [' P', 'aris', '.']
        >>> "".join(minillm.stream(model, "The capital of France is", 3, drafter=minillm.PromptLookup()))
        ' Paris.'
    """
    check_k(k)
    if drafter is None:
        generation = Generation(model, prompt, max_new_tokens, sampling, use_cache, cache_dtype=cache_dtype)
    else:
        check_bool("use_cache", use_cache)
        if not use_cache:
            raise ValueError("use_cache is False, but a drafter needs a cache; leave one of them out")
        generation = SpeculativeGeneration(model, drafter, prompt, max_new_tokens, sampling, k, cache_dtype)
    return (step.text for step in generation if step.text)
