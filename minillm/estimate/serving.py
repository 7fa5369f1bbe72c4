"""Serving: a model on one GPU or several, and how long its forward passes and a whole request take."""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from minillm.config import ModelConfig
from minillm.estimate.hardware import Machine
from minillm.estimate.memory import USABLE, NumberFormat, cache_bytes_per_token, max_sequences, weights_bytes
from minillm.estimate.roofline import Time, roofline_time
from minillm.estimate.sharding import largest_share, tensor_parallel_bytes_sent
from minillm.estimate.streaming import Streamed
from minillm.estimate.units import Number
from minillm.estimate.work import Tokens, forward_work

FLOAT16 = NumberFormat(16)
MOST_GPUS = 4096  # that share a model
LIGHT_IN_FIBRE_KM_PER_S = 200_000  # two thirds of its speed in vacuum


@dataclass(frozen=True)
class Serving:
    """A model, where it runs and how.

    Attributes:
        config: of the model.
        machine: one GPU.
        gpus: number of GPUs that hold the model together, by tensor parallelism.
        weights: storage format of the weights.
        cache_bytes: bytes of one number in the KV cache.
        mfu, mbu: fractions of peak arithmetic and bandwidth that are reached; 1 gives lower bounds of time.
        usable: fraction of the memory that weights and cache may take.
        streamed: what a pass reads from the file, if the layers stay there; on one GPU only.
    """

    config: ModelConfig
    machine: Machine
    gpus: int = 1
    weights: NumberFormat = FLOAT16
    cache_bytes: Number = 2
    mfu: Number = 1.0
    mbu: Number = 1.0
    usable: Number = USABLE
    streamed: Streamed | None = None

    @property
    def weights_bytes(self) -> Number:
        """Return the bytes of the weights that are in memory: of all, unless the layers are streamed."""
        if self.streamed is not None:
            return self.streamed.memory_bytes
        return weights_bytes(self.config, self.weights.bytes_each)

    @property
    def cache_bytes_per_token(self) -> Number:
        """Return the bytes of one token's keys and values."""
        return cache_bytes_per_token(self.config, self.cache_bytes)

    @cached_property
    def share(self) -> "Serving":
        """Return the GPU with the largest share of the model, as if it ran a smaller model alone."""
        return replace(self, config=largest_share(self.config, self.gpus), gpus=1)

    @property
    def free_bytes(self) -> Number:
        """Return the memory that one GPU has left for its share of the KV cache; negative if the weights do not fit."""
        return self.machine.memory_bytes * self.usable - self.share.weights_bytes


def forward_time(serving: Serving, batch: Sequence[Tokens]) -> Time:
    """Return the time of one forward pass.

    With tensor parallelism it takes as long as the largest share, then the GPUs wait for each other's sums.
    """
    config, machine = serving.config, serving.machine
    work = forward_work(serving.share.config, batch, serving.weights.bytes_each, serving.cache_bytes)
    alone = roofline_time(work, machine, serving.mfu, serving.mbu)
    sent = tensor_parallel_bytes_sent(config, sum(tokens.new for tokens in batch), serving.gpus)
    return Time(
        alone.compute_s,
        alone.memory_s,
        machine.overhead_s_per_layer * config.num_hidden_layers + machine.overhead_s_per_step,
        sent / machine.link_bytes_per_s if sent else 0.0,
        serving.streamed.seconds if serving.streamed is not None else 0.0,
    )


def prefill_time(serving: Serving, tokens: int, prompts: int = 1) -> Time:
    """Return the time of one pass over `prompts` prompts of `tokens` each."""
    return forward_time(serving, [Tokens(tokens)] * prompts)


def decode_time(serving: Serving, context: Number, sequences: int = 1) -> Time:
    """Return the time of one step of `sequences` sequences of `context` tokens each, the new one included."""
    return forward_time(serving, [Tokens(1, context - 1)] * sequences)


def decode_all_s(serving: Serving, prompt: int, new_tokens: int, sequences: int = 1) -> Number:
    """Return the seconds of a request's decode steps: `new_tokens` - 1, because prefill gives the first token."""

    def step_s(context: int) -> Number:
        return decode_time(serving, context, sequences).seconds

    return _sum_of_lines(step_s, prompt + 1, prompt + new_tokens - 1)


def _sum_of_lines(value: Callable[[int], Number], first: int, last: int) -> Number:
    """Sum `value` over all integers from first to last, where its graph consists of a few straight lines.

    A step takes longer by a constant time per token of context, until another limit takes over or a window is full.
    """
    if last - first < 8:
        return sum(value(at) for at in range(first, last + 1))
    start, slope = value(first), (value(last) - value(first)) / (last - first)
    between = [first + (last - first) * part // 8 for part in range(1, 8)]
    if all(math.isclose(value(at), start + slope * (at - first), rel_tol=1e-12) for at in between):
        return (start + value(last)) / 2 * (last - first + 1)
    middle = (first + last) // 2
    return _sum_of_lines(value, first, middle) + _sum_of_lines(value, middle + 1, last)


def most_sequences(serving: Serving, tokens: Number) -> int:
    """Return how many sequences of `tokens` fit into the memory at once; 0 if not even the weights fit."""
    return max_sequences(serving.free_bytes, tokens, serving.share.cache_bytes_per_token)


def fewest_gpus(serving: Serving, sequences: int, tokens: Number) -> int | None:
    """Return how many GPUs hold `sequences` of `tokens` by tensor parallelism; None if no number up to 4,096 does.

    A KV head is not divided. So GPUs beyond the number of KV heads take weights off each other, but no more cache.
    Up to the number of query heads each number of GPUs is tried, because 9 GPUs may need more KV heads than 8. From
    there on every GPU has one query head and one KV head, and more GPUs never hold less: bisection finds the first.
    """

    def hold(gpus: int) -> bool:
        return most_sequences(replace(serving, gpus=gpus), tokens) >= sequences

    if serving.streamed is not None:
        return 1 if hold(1) else None
    heads = min(serving.config.num_attention_heads, MOST_GPUS)
    few = next(filter(hold, range(1, heads)), None)
    many = range(heads, MOST_GPUS + 1)
    return few or next(iter(many[bisect_left(many, True, key=hold) :]), None)


@dataclass(frozen=True)
class Latency:
    """Seconds that a user waits for one request.

    Attributes:
        network_s: a round trip.
        queue_s: until the server begins with the request.
        prefill_s: the prompt.
        decode_s: all tokens after the first.
    """

    network_s: Number
    queue_s: Number
    prefill_s: Number
    decode_s: Number

    @property
    def ttft_s(self) -> Number:
        """Return the time to first token."""
        return self.network_s + self.queue_s + self.prefill_s

    @property
    def total_s(self) -> Number:
        """Return the time until the last token."""
        return self.ttft_s + self.decode_s


def request_latency(
    serving: Serving, prompt: int, new_tokens: int, sequences: int = 1, network_s: Number = 0.0, queue_s: Number = 0.0
) -> Latency:
    """Return the latency of one of `sequences` equal requests that are prefilled and decoded together."""
    prefill_s = prefill_time(serving, prompt, sequences).seconds
    return Latency(network_s, queue_s, prefill_s, decode_all_s(serving, prompt, new_tokens, sequences))


def network_floor_s(km: Number) -> Number:
    """Return the shortest possible round trip over `km` kilometres: light in fibre, there and back."""
    return 2 * km / LIGHT_IN_FIBRE_KM_PER_S
