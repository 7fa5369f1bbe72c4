"""Figures of other machines and models: quoted, never reproduced."""

from minillm.estimate.papers.ledger import Topic

topic = Topic()
for _id, _paper, _published in (
    (
        "fa-a100",
        "Dao et al., 2205.14135",
        "GPT-2 medium, forward + backward on an A100: 41.7 -> 7.3 ms, 40.3 -> 4.4 GB",
    ),
    ("mqa-tpu", "Shazeer, 1911.02150", "decoder, microseconds a token on a TPU: MHA 46, MQA 3.8"),
    ("gqa-t5", "Ainslie et al., 2305.13245", "T5-XXL, seconds a sample: MHA 1.51, MQA 0.24, GQA-8 0.28"),
    (
        "invariance-80",
        "He et al., 2025",
        "Qwen3-235B, 1,000 completions at temperature 0: 80 different; invariant kernels 1",
    ),
    ("vllm-throughput", "Kwon et al., 2309.06180", "2 to 4 times the throughput of earlier systems"),
    ("radix-throughput", "Zheng et al., 2312.07104", "up to 6.4 times the throughput; hit rates of 50 to 99%"),
    ("orca-175b", "Yu et al., OSDI 2022", "36.9 times FasterTransformer's throughput at the same latency, GPT-3 175B"),
    ("sarathi-capacity", "Agrawal et al., 2403.02310", "2.6 (Mistral-7B) to 5.6 (Falcon-180B) times vLLM's capacity"),
    ("chen-table", "Chen et al., 2302.01318", "Chinchilla 70B with a 4B draft: 14.1 ms a token -> 7.52, 7.00, 5.73"),
    ("prompt-lookup", "Saxena, 2023", "2 to 4 times on input-grounded tasks, Mistral-7B, A100"),
    ("pope-29ms", "Pope et al., 2211.05102", "PaLM 540B: 29 ms a token with int8 weights, 76% of peak in prefill"),
):
    topic.quote(_id, _paper, _published)
