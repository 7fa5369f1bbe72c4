"""What a pass sends, counted, and what estimate/sharding.py says. Run by test_tensor_parallel.py."""

from minillm.estimate.sharding import tensor_parallel_bytes_sent, vocabulary_parallel_bytes_sent
from minillm.kv_cache import KVCache
from minillm.parallel.load import end, follow, load_share
from minillm.parallel.ranks import world
from minillm.prefill import prefill
from minillm.transformer import forward_batch

ranks = world()
for backend, itemsize in (("numpy", 4), ("exact", 8)):
    model = load_share(ranks, "story", backend, "float32", "float32")
    if ranks.rank:
        follow(model)
        continue
    config, cache = model.config, KVCache(model, 20)
    prefill(model, [5, 6, 7], cache)
    before = {kind: vars(traffic).copy() for kind, traffic in ranks.sent.items()}
    forward_batch(model, [([8, 9], cache)])
    sent = {
        kind: {name: value - before[kind][name] for name, value in vars(traffic).items()}
        for kind, traffic in ranks.sent.items()
    }
    layers, (tokens, rows) = config.num_hidden_layers, (2, 1)
    # exact: before each of the 2 all-reduces of a layer, a maximum and a sum of one float64 for each token
    grids = 4 * layers * 2 * (ranks.size - 1) / ranks.size * tokens * 8 if backend == "exact" else 0
    expected = tensor_parallel_bytes_sent(config, tokens, ranks.size, itemsize) + grids
    expected += vocabulary_parallel_bytes_sent(config, tokens, rows, ranks.size, itemsize)
    assert abs(sent["all_reduce"]["bytes"] + sent["all_gather"]["bytes"] - expected) < 1e-6, (sent, expected)
    assert sent["all_reduce"]["calls"] == (2 if backend == "numpy" else 6) * layers + 1, sent
    assert sent["all_reduce"]["messages"] == 2 * (ranks.size - 1) * sent["all_reduce"]["calls"]
    assert (sent["all_gather"]["calls"], sent["all_gather"]["messages"]) == (1, ranks.size - 1)
    assert sent["broadcast"]["calls"] == 1, sent
    print(backend, sent["broadcast"]["bytes"] < 2000)
    end(model)
