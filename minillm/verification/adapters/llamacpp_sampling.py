"""How llama.cpp draws a token: its samplers, in the order of the definition.

    pytest --minillm-engine llamacpp_sampling        (needs llama-cpp-python)

A chain of samplers changes the candidates and their logits. The last step of llama.cpp, a draw from their softmax, is
done with `draw`.
"""

import ctypes

import llama_cpp
import numpy as np

VOCAB_SIZE = 17  # the logits have fewer numbers
SAMPLERS = {
    "temperature": llama_cpp.llama_sampler_init_temp,
    "top_k": llama_cpp.llama_sampler_init_top_k,
    "top_p": lambda top_p: llama_cpp.llama_sampler_init_top_p(top_p, 1),
    "min_p": lambda min_p: llama_cpp.llama_sampler_init_min_p(min_p, 1),
}


def sample(logits, options, draw):
    """Return a token."""
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    for name, sampler in SAMPLERS.items():
        if name in options:
            llama_cpp.llama_sampler_chain_add(chain, sampler(options[name]))
    data = (llama_cpp.llama_token_data * len(logits))(*((token, logit, 0.0) for token, logit in enumerate(logits)))
    candidates = llama_cpp.llama_token_data_array(data, len(logits), -1, False)
    llama_cpp.llama_sampler_apply(chain, ctypes.byref(candidates))
    llama_cpp.llama_sampler_free(chain)
    kept = [candidates.data[row] for row in range(candidates.size)]
    weights = np.exp(np.array([one.logit for one in kept]) - max(one.logit for one in kept))
    return kept[draw(weights / weights.sum())].id
