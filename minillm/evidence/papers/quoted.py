"""Figures of other machines and models: quoted, not reproduced, each with the reason."""

from minillm.evidence.papers.ledger import Topic

topic = Topic()
GPU, MODELS = "measured on their GPUs", "measured on their models and hardware"
VLLM, LEVIATHAN = "Kwon et al., 2309.06180", "Leviathan et al., 2211.17192"
for _id, _paper, _published, _beyond in (
    ("rmsnorm-time", "Zhang, Sennrich, 1910.07467", "7% to 64% less running time than LayerNorm", MODELS),
    (
        "fa-a100",
        "Dao et al., 2205.14135",
        "GPT-2 medium, forward + backward on an A100: 41.7 -> 7.3 ms, 40.3 -> 4.4 GB, 66.6 -> 75.2 GFLOP",
        GPU,
    ),
    (
        "mqa-tpu",
        "Shazeer, 1911.02150",
        "microseconds a token on a TPU, encoder + decoder: MHA 1.7 + 46, MQA 1.5 + 3.8; 4 beams: 2.0 + 203, 1.6 + 32",
        "measured on a TPU",
    ),
    ("gqa-t5", "Ainslie et al., 2305.13245", "T5-XXL, seconds a sample: MHA 1.51, MQA 0.24, GQA-8 0.28", MODELS),
    (
        "invariance-80",
        "He et al., 2025",
        "Qwen3-235B, 1,000 completions at temperature 0: 80 different; invariant kernels 1; 26 s and 55 s",
        MODELS,
    ),
    ("vllm-throughput", VLLM, "2 to 4 times the throughput of earlier systems; a kernel 20 to 26% slower", GPU),
    (
        "radix-throughput",
        "Zheng et al., 2312.07104",
        "up to 6.4 times the throughput; hit rates of 50 to 99%; live 52.4% and 74.1%",
        "measured on their GPUs, with traffic that is not published",
    ),
    (
        "orca-175b",
        "Yu et al., OSDI 2022",
        "36.9 times FasterTransformer's throughput at the same latency, GPT-3 175B",
        GPU,
    ),
    (
        "sarathi-decode",
        "Agrawal et al., 2308.16369",
        "12.49 -> 1.2 ms a token for decodes that ride on a prefill; end to end 1.33 and 1.25 times",
        GPU,
    ),
    (
        "sarathi-capacity",
        "Agrawal et al., 2403.02310",
        "2.6 (Mistral-7B) to 5.6 (Falcon-180B) times vLLM's capacity",
        GPU,
    ),
    (
        "lev-measured",
        LEVIATHAN,
        "Table 4, measured: T5-XXL 1.4 to 3.4 times; acceptances of LaMDA's drafts 0.57, 0.71, 0.74",
        "measured on their models; for the formula with the same inputs see lev-table4",
    ),
    (
        "chen-table",
        "Chen et al., 2302.01318",
        "Chinchilla 70B with a 4B draft: 14.1 ms a token -> 7.52, 7.00, 5.73",
        MODELS,
    ),
    (
        "prompt-lookup",
        "Saxena, 2023",
        "2 to 4 times on input-grounded tasks, Mistral-7B, A100",
        "measured on their GPUs; for the direction see lookup-copies",
    ),
    (
        "distillspec",
        "Zhou et al., 2310.08461",
        "a draft distilled on its own samples is 10 to 45% faster",
        "needs a training; the model card of story-draft shows that acceptance rises",
    ),
    (
        "draft-verify",
        "Zhang et al., 2309.08168",
        "the model without some of its layers as its own draft: up to 1.99 times",
        MODELS,
    ),
    ("layerskip", "Elhoushi et al., 2404.16710", "early exit: up to 2.16 times", MODELS),
    ("medusa", "Cai et al., 2401.10774", "extra heads and a tree: 2.2 to 3.6 times", MODELS),
    ("eagle", "Li et al., 2401.15077", "drafted features: 2.7 to 3.5 times, LLaMA2-Chat 70B", MODELS),
    (
        "pope-29ms",
        "Pope et al., 2211.05102",
        "PaLM 540B: 29 ms a token with int8 weights, 76% of peak in prefill",
        "measured on 64 TPUs",
    ),
):
    topic.quote(_id, _paper, _published, _beyond)
