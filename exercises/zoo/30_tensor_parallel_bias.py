"""With tensor parallelism every rank adds the bias, so it is added several times."""

ENGINE = "MinivLLM"
KIND = "tensor parallelism"
THREAD = "https://github.com/Wenyueh/MinivLLM/issues/80"
TITLE = "【bug】RowParallelLinear adds bias multiple times when tp_size > 1"
SEEN = "On one GPU a model with biases is right, on several it is not. Llama has no biases and is right on both."
CAUSE = """
Each rank computes a part of a sum, and an all-reduce adds the parts. The bias belongs to the sum, but it was added to
every part.
"""
PROPERTY = "ranks_together_are_one_model"
MODULE, FUNCTION = "minillm.parallel.backend", "OnRanks.add_linear"
PATCH = [
    (
        "        product = self.cut_linear(h, weight)\n"
        "        return x + (product if bias is None else product + bias)\n",
        "        return x + self.all_reduce(self.linear(h, weight, bias))\n",
    )
]


def answer(_):
    import numpy as np

    from minillm.backends import get_backend
    from minillm.parallel.backend import on_ranks
    from minillm.parallel.thread_ranks import in_threads

    def run(rank):
        ops = on_ranks(get_backend("plain"), rank, None)
        weight = ops.prepare_cut([np.ones((1, 2))])  # story has no biases: this is the product of one layer
        with ops.all_together():
            return ops.add_linear(np.zeros((1, 1)), np.ones((1, 2)), weight, np.array([10.0]))

    return [f"4 ranks, a sum of 8 ones and a bias of 10: {in_threads(4, run)[0].item():.0f}"]
