"""A model whose every weight is made of whole numbers, so that it is the same everywhere, and its hash.

Run as a program, it prints the hash: under other threads, libraries and processors. It needs NumPy alone.
"""

import sys

import numpy as np
from tensors import ArrayTensor, tensor_shapes

from minillm.backends import get_backend
from minillm.config import ModelConfig, RopeParameters
from minillm.evidence.exactness import logits_hash
from minillm.loading.build import build
from minillm.loading.checkpoint import Checkpoint
from minillm.model import Model
from minillm.transformer import forward

GOLDEN_HASH = "e8766df8a6a5cbd2e69549b93c675442d594e199c3fa81a63b210b9a48ebaf9c"
# Every option of the architecture at once; head_dim 24, whose root is no power of two.
CONFIG = ModelConfig(
    model_type="llama", vocab_size=300, hidden_size=144, intermediate_size=250, num_hidden_layers=3,
    num_attention_heads=6, num_key_value_heads=2, head_dim=24, max_position_embeddings=256, rms_norm_eps=1e-5,
    tie_word_embeddings=False,
    rope=RopeParameters(500_000.0, "llama3", 8.0, 1.0, 4.0, original_max_position_embeddings=64),
    attention_bias=True, attention_output_bias=True, mlp_bias=True, qk_norm=True, sliding_windows=(None, 16, None),
    bos_token_id=None, eos_token_ids=(0,),
)  # fmt: skip
TOKENS = [(n * n * 7 + n * 13) % CONFIG.vocab_size for n in range(100)]  # longer than a tile of queries


def whole_number_noise(count: int, seed: int) -> np.ndarray:
    """Numbers from -0.5 to 0.5 with 24 bits, as float32 has: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    z = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed << 32)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float64) * 2.0**-24 - 0.5


def golden_model(backend: str = "exact") -> Model:
    """Norms around 1, all else around 0; the numbers of the plain float32 model are the same."""
    tensors = {}
    for seed, (name, shape) in enumerate(tensor_shapes(CONFIG).items()):
        noise = whole_number_noise(int(np.prod(shape)), seed).reshape(shape)
        tensors[name] = ArrayTensor((1 + noise if name.endswith("norm.weight") else noise).astype(np.float32))
    ops = get_backend(backend)
    return build(Checkpoint("golden", CONFIG, tensors, None), ops, ops.choose_dtype("float32"))


def golden_hash(backend: str = "exact") -> str:
    """Of the logits, and of the functions that a model is made of: what follows would round their last bits away."""
    model, noise = golden_model(backend), whole_number_noise(100_000, 999).reshape(100, 1000)
    cos_sin = model.ops.cos_sin(np.arange(0, 100_000, 999), CONFIG.rope, CONFIG.head_dim)
    functions = [*cos_sin, model.ops.swiglu(40 * noise, noise), model.ops.rms_norm(noise, noise[0], 1e-5)]
    return logits_hash(np.concatenate([x.ravel() for x in (forward(model, TOKENS), *functions)])[None])


if __name__ == "__main__":
    print(golden_hash(*sys.argv[1:]))
