"""Speculative generation: text in, text out, as `generation.py`, but with a draft that is verified in each pass."""

from dataclasses import dataclass, fields

from minillm.completion import DEFAULT_NEW_TOKENS, Step
from minillm.generation import Generation, Output, Prompt, Timings
from minillm.model import Model
from minillm.sampling import Sampling
from minillm.speculative.speculator import DrafterChoice, Speculator
from minillm.transformer import forward_batch


@dataclass(frozen=True)
class SpeculativeOutput(Output):
    """What a request produced, and how.

    Attributes:
        proposed: guesses that were verified.
        accepted: guesses that became tokens.
        rounds: forward passes of the model after the prompt's.
    """

    proposed: int = 0
    accepted: int = 0
    rounds: int = 0


class SpeculativeGeneration(Generation):
    """One request. Iterating runs it, a token at a time; `output` is there afterwards."""

    def __init__(
        self,
        model: Model,
        drafter: DrafterChoice,
        prompt: Prompt,
        max_new_tokens: int = DEFAULT_NEW_TOKENS,
        sampling: Sampling | None = None,
        k: int | str = "auto",
    ) -> None:
        """Check everything and encode the prompt; nothing is computed yet. The arguments: see `speculative_generate`.

        Raises:
            ValueError: a wrong argument, or a draft whose tokens are not the model's.
        """
        super().__init__(model, prompt, max_new_tokens, sampling)
        self.speculation = Speculator(model, drafter, k).begin(self.completion)

    def _next_steps(self) -> list[Step]:
        """One round."""
        answer, cache = self.completion, self.cache
        assert cache is not None
        draft_tokens = self.speculation.propose(answer)
        tokens = [*answer.sequence[cache.length :], *draft_tokens]
        logits = self.model.ops.to_host(forward_batch(self.model, [(tokens, cache)], [len(draft_tokens) + 1]))
        steps = self.speculation.verify(answer, logits)
        cache.truncate(len(answer.sequence) - 1)  # all but the last token, which the next round feeds
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
) -> SpeculativeOutput:
    """Run one request to its end, with guesses of a drafter: fewer passes of the model for the same output.

    Greedy text is that of `generate`, to the bit on the exact backend. Sampled text has the same distribution, but for
    one seed it is another text: more random numbers are drawn.

    Args:
        model: the model whose output it is.
        drafter: a smaller Model with the same tokens, `skip_layers(model)`, or `PromptLookup()`.
        prompt, max_new_tokens, sampling: as in `generate`.
        k: guesses in a round, of which 511 at most are made; "auto" follows what is accepted and what it costs, and
            stops where it would lose.

    Raises:
        ValueError: a wrong argument, or a draft whose tokens are not the model's.
    """
    generation = SpeculativeGeneration(model, drafter, prompt, max_new_tokens, sampling, k)
    for _ in generation:
        pass
    assert isinstance(generation.output, SpeculativeOutput)
    return generation.output
