"""Figures of papers on what inference takes, and of queueing theory."""

import numpy as np

from minillm.estimate.arrivals import poisson_times_s
from minillm.estimate.hardware import find_gpu
from minillm.estimate.models import find_model
from minillm.estimate.parameters import layers_parameters, matrix_parameters, parameters
from minillm.estimate.queueing import erlang_c, md1_wait_s, mm1_wait_s, mmc_wait_s, overload_wait_s, simulate_queue
from minillm.estimate.roofline import ridge_flops_per_byte
from minillm.estimate.sharding import all_reduce_bytes_sent, pipeline_bubble, tensor_parallel_bytes_sent
from minillm.estimate.units import GIB
from minillm.estimate.work import decode_work
from minillm.evidence.cut_models import config_of_model, idle_share, tensor_parallel_pass
from minillm.evidence.papers.ledger import COUNT, FORMULA, Ours, Topic, listed

topic = Topic()
ROOFLINE = "Williams, Waterman, Patterson, Roofline, CACM 52(4), 2009"
KAPLAN, POPE = "Kaplan et al., 2001.08361", "Pope et al., 2211.05102"
GPIPE, MEGATRON = "Huang et al., GPipe, 1811.06965", "Shoeybi et al., Megatron-LM, 1909.08053"
QUEUES = "textbook: Little, Pollaczek-Khinchine, Erlang"


@topic.figure("roofline-ridges", ROOFLINE, "peak / bandwidth: A100 153, H100 SXM 295 FLOP/byte (datasheets)")
def roofline_ridges() -> Ours:
    """Compute the ridges, and the least time in which 6.738e9 parameters in float16 are read."""
    ridges = [round(ridge_flops_per_byte(find_gpu(name))) for name in ("a100", "h100")]
    times = [
        2000 * parameters(find_model("llama-2-7b")) / find_gpu(name).bandwidth_bytes_per_s for name in ("a100", "h100")
    ]
    same = ridges == [153, 295] and [round(time, 2) for time in times] == [6.61, 4.02]
    return Ours(f"{ridges[0]}, {ridges[1]}; Llama-2 7B {listed(times, 2)} ms", same, FORMULA)


@topic.figure("kaplan-flops", KAPLAN, "forward 2N + 2·L·n·D for each token")
def kaplan_flops() -> Ours:
    """Count a real step: 4·L·n·D, because Kaplan leaves out the product with the values."""
    config, context = find_model("llama-2-7b"), 4096
    attention = decode_work(config, context).flops - 2 * matrix_parameters(config)
    kaplan = 2 * config.num_hidden_layers * context * config.hidden_size
    return Ours(
        f"2N + {attention / kaplan:g} · 2·L·n·D; at {context:,} tokens {attention / 2 / layers_parameters(config):.0%} "
        f"of 2N, theirs {kaplan / 2 / layers_parameters(config):.0%}",
        attention == 2 * kaplan,
        f"{FORMULA}, except for the product with the values",
    )


@topic.figure(
    "pope-table1", POPE, "Table 1: 1,320 / 330, 660 / 165, 43,000 / 10,700 tokens of context; up to 32 times as long"
)
def pope_table1() -> Ours:
    """Compute the longest context if 30% of 64 chips of 32 GiB hold PaLM 540B's cache, at batch 128 and 512."""
    room, layers = 0.3 * 32 * GIB, 118
    each = {"multihead": 2 * 128 * layers * 2, "by heads": 2 * 256 * layers * 2, "by batch": 2 * 256 * layers * 2 / 64}
    ours = [room / (bytes_ * batch) for bytes_ in each.values() for batch in (128, 512)]
    printed = (1320, 330, 660, 165, 43_000, 10_700)
    close = all(abs(a / b - 1) < 0.011 for a, b in zip(ours, printed, strict=True))
    times = [each[name] / each["by batch"] for name in ("multihead", "by heads")]  # as long a context
    return Ours(
        ", ".join(f"{value:,.0f}" for value in ours) + f": {times[0]:g} and {times[1]:g} times as long",
        close and times == [32, 64],
        f"{FORMULA}, within its rounding (1.1%)",
    )


@topic.figure("pope-3tb", POPE, "540B multihead, batch 512, context 2,048: 3 TB")
def pope_3tb() -> Ours:
    """Multiply 2 · 48 heads · 128 · 118 layers · 2 bytes for each of 512 · 2,048 tokens."""
    total = 2 * 48 * 128 * 118 * 2 * 512 * 2048
    return Ours(f"{total / 1e12:.2f} TB", round(total / 1e12) == 3, FORMULA)


@topic.figure("gpipe-bubble", GPIPE, "(p - 1) / (m + p - 1); negligible for m >= 4p")
def gpipe_bubble() -> Ours:
    """Run `story` in 4 stages, with 4 and 16 micro-batches, and count the slots in which stages idled."""
    idle = {micro_batches: idle_share(4, micro_batches, range(64)) for micro_batches in (4, 16)}
    same = all(np.isclose(share, pipeline_bubble(4, micro_batches)) for micro_batches, share in idle.items())
    return Ours(
        ", ".join(f"{share:.1%}" for share in idle.values()),
        same and idle[16] < 0.2,
        f"{COUNT}, in a run of 4 stages",
        tuple(
            f"64 tokens in {m} micro-batches: each stage idles in 3 of {m + 3} slots, counted {share:.1%}"
            for m, share in idle.items()
        ),
    )


@topic.figure("tp-bytes", MEGATRON, "2 all-reduces a layer, 2·(p - 1)/p of tokens·D·b by each rank")
def tp_bytes() -> Ours:
    """Run `story` on 2, 3 and 4 ranks and count what each sends; compute it for Llama-2 70B over 8 GPUs in float16."""
    config, tokens = config_of_model(), (5, 6, 7, 8)
    counts, working, same = list[str](), list[str](), True
    for ranks in (2, 3, 4):
        passes = tensor_parallel_pass(ranks, tokens)
        sent = [each.sent["all_reduce"] for each in passes]
        layers = 2 * config.num_hidden_layers
        each = all_reduce_bytes_sent(len(tokens) * config.hidden_size * 4, ranks)
        same = same and all((one.calls, one.bytes) == (layers + 1, (layers + 1) * each) for one in sent)
        same = same and all(one.same for one in passes)
        counts.append(f"{sent[0].bytes:,}")
        working.append(
            f"{ranks} ranks: {sent[0].calls} all-reduces, 2 in each of {config.num_hidden_layers} layers and 1 of the "
            f"embedding: {sent[0].calls} · 2·{ranks - 1}/{ranks} · {len(tokens)} tokens · {config.hidden_size} · 4 B = "
            f"{sent[0].calls * each:,.0f} B, counted {sent[0].bytes:,} B in {sent[0].messages} messages"
        )
    large = tensor_parallel_bytes_sent(find_model("llama-2-70b"), 1, 8)
    return Ours(
        f"`story` on 2, 3, 4 ranks: {', '.join(counts)} B; Llama-2 70B on 8: {large:,.0f} B",
        same and large == 4_587_520,
        f"{COUNT}, in runs of 2, 3 and 4 ranks",
        (*working, f"Llama-2 70B: 2 · 80 layers · 2·7/8 · 1 token · 8192 · 2 B = {large:,.0f} B"),
    )


@topic.figure("pk-half", QUEUES, "in service times at 0.5, 0.8, 0.9: M/D/1 0.5, 2, 4.5; M/M/1 1, 4, 9")
def pk_half() -> Ours:
    """Compute the formulas, and simulate a million customers at 0.8, within 2%."""
    loads = (0.5, 0.8, 0.9)
    fixed, random = [md1_wait_s(rho, 1) for rho in loads], [mm1_wait_s(rho, 1) for rho in loads]
    generator = np.random.default_rng(0)
    run = simulate_queue(poisson_times_s(0.8, 1_000_000, generator), np.ones(1_000_000))
    simulated = float(run.waits_s.mean())
    same = np.allclose([*fixed, *random], [0.5, 2, 4.5, 1, 4, 9]) and abs(simulated / 2 - 1) < 0.02
    return Ours(f"{listed(fixed, 1)}; {listed(random, 0)}; M/D/1 simulated {simulated:.2f}", bool(same), FORMULA)


@topic.figure("little", QUEUES, "number in the system = rate · time in the system, in any stable system")
def little() -> Ours:
    """Count and multiply, for 10,000 simulated customers of three servers."""
    generator = np.random.default_rng(0)
    run = simulate_queue(poisson_times_s(2.4, 10_000, generator), generator.exponential(1.0, 10_000), servers=3)
    product = run.rate * float((run.finishes_s - run.arrivals_s).mean())
    return Ours(f"{run.mean_number:.3f} = {product:.3f}", abs(run.mean_number / product - 1) < 1e-9, COUNT)


@topic.figure("erlang-c", QUEUES, "2 servers at load 1.6: C = 0.7111, wait 1.778 service times")
def erlang_c_figure() -> Ours:
    """Compute Erlang's formula."""
    ours = erlang_c(2, 1.6), mmc_wait_s(1.6, 1, 2)
    return Ours(f"{ours[0]:.4f}, {ours[1]:.3f}", (round(ours[0], 4), round(ours[1], 3)) == (0.7111, 1.778), FORMULA)


@topic.figure("overload", QUEUES, "110/s into 100/s: backlog 10·t, wait 0.1·t; no steady state")
def overload() -> Ours:
    """Compute the wait after 10 and 60 seconds."""
    waits = [float(overload_wait_s(110, 100, after)) for after in (10, 60)]
    return Ours(f"{listed(waits, 0)} s", waits == [1, 6], FORMULA)
