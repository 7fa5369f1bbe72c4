"""Other architectures of llama.cpp, and their memories: sliding windows, recurrent states, and both kinds of layers.

    pytest --minillm-engine llamacpp_decoders               (needs llama-cpp-python and gguf)
    pytest --minillm-engine llamacpp_decoders -k mamba      one of them

Each is a tiny GGUF file with random weights. No reference exists: a schedule must give what one prefill into a new
sequence gives. `gemma2` has one window layer and one full layer; its memory drops what no later token can see.
`gemma2_full` keeps it. `mamba` has recurrent states only; `jamba` and `lfm2` have a recurrent layer and an attention
layer. NAME_small_passes has passes of at most 4 tokens.

What is documented as impossible is refused: a recurrent state cannot go back, and a window that was dropped is lost.
"""

from functools import partial
from types import SimpleNamespace

import gguf
import llama_cpp
import numpy as np

from minillm.verification.adapters import llamacpp

WINDOW = 4
DIM, INNER, HEADS, HEAD, STATE, CONV, RANK = 16, 32, 2, 8, 4, 4, 2
NORMS = {"attn_norm": (DIM,), "ffn_norm": (DIM,)}
ATTENTION = {name: (DIM, DIM) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
MLP = {"ffn_gate": (INNER, DIM), "ffn_up": (INNER, DIM), "ffn_down": (DIM, INNER)}
MAMBA = {
    "attn_norm": (DIM,), "ssm_in": (2 * INNER, DIM), "ssm_conv1d": (INNER, CONV), "ssm_conv1d.bias": (INNER,),
    "ssm_x": (RANK + 2 * STATE, INNER), "ssm_dt": (INNER, RANK), "ssm_dt.bias": (INNER,), "ssm_a": (INNER, STATE),
    "ssm_d": (INNER,), "ssm_out": (DIM, INNER),
}  # fmt: skip
MAMBA_NORMS = {"ssm_dt_norm": (RANK,), "ssm_b_norm": (STATE,), "ssm_c_norm": (STATE,)}
CONVOLUTION = {"shortconv.in_proj": (3 * DIM, DIM), "shortconv.conv": (DIM, CONV), "shortconv.out_proj": (DIM, DIM)}
LAYERS = {  # of each architecture: the tensors of its layers
    "gemma2": [{**NORMS, **ATTENTION, **MLP, "post_attention_norm": (DIM,), "post_ffw_norm": (DIM,)}] * 2,
    "mamba": [MAMBA] * 2,
    "jamba": [{**NORMS, **MAMBA, **MAMBA_NORMS, **MLP}, {**NORMS, **ATTENTION, **MLP}],
    "lfm2": [
        {**NORMS, **CONVOLUTION, **MLP},
        {**NORMS, **ATTENTION, **MLP, "attn_q_norm": (HEAD,), "attn_k_norm": (HEAD,)},
    ],
}
RECURRENT = ("mamba", "jamba", "lfm2")
CONTEXTS = {
    "": {"kv_unified": True, "swa_full": False},
    "_streams": {"kv_unified": False, "swa_full": False},
    "_small_passes": {"kv_unified": True, "swa_full": False, "n_ubatch": 4},
}


def engines():
    """Yield the name of each architecture with a context, and what makes its engines."""
    for name in LAYERS:
        for context, settings in CONTEXTS.items():
            yield name + context, described(name, settings)
    yield "gemma2_full", described("gemma2", {"kv_unified": True, "swa_full": True})


def described(name, settings):
    """Return what an engine of an architecture is made from. It is compared with itself."""
    make = lambda config, weights: Decoder(name, config.vocab_size, settings)  # noqa: E731
    return SimpleNamespace(make_engine=make, REFERENCE="self", TOLERANCE=1e-3, WINDOW=WINDOW)


def write_file(path, name, vocab_size):
    """Write a tiny model of an architecture as a GGUF file."""
    writer, layers = gguf.GGUFWriter(path, name), LAYERS[name]
    kv_heads = [HEADS * ("attn_q" in layer) for layer in layers]
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(vocab_size)
    writer.add_context_length(256)
    writer.add_embedding_length(DIM)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(len(layers))
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(kv_heads if any(kv_heads) else 0)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_sliding_window(WINDOW)
    writer.add_shortconv_l_cache(CONV)
    writer.add_ssm_conv_kernel(CONV)
    writer.add_ssm_inner_size(INNER)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(RANK)
    random = np.random.default_rng(0)
    shapes = {"token_embd": (vocab_size, DIM), "token_embd_norm" if name == "lfm2" else "output_norm": (DIM,)}
    shapes |= {f"blk.{number}.{part}": shape for number, layer in enumerate(layers) for part, shape in layer.items()}
    for part, shape in shapes.items():
        writer.add_tensor(part if part.endswith(".bias") else named(part), numbers(part, shape, random))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def named(part):
    """Return the name of a tensor in the file. Two have no ending."""
    return part if part.endswith(("ssm_a", "ssm_d")) else f"{part}.weight"


def numbers(part, shape, random):
    """Return a tensor. Decay rates are below 0, and matrices so large that every token changes the logits."""
    drawn = random.normal(size=shape)
    if part.endswith("ssm_a"):
        drawn = -np.abs(drawn)
    elif "norm" in part:
        drawn = 1 + 0.3 * drawn
    elif len(shape) == 2:
        drawn *= 1.5 / np.sqrt(shape[1])
    return drawn.astype(np.float32)


class Decoder(llamacpp.Engine):
    """The functions of llama.cpp's Llamas, without those that have no exact meaning with more than one layer."""

    remove = shift = None

    def __init__(self, name, vocab_size, settings):
        super().__init__(partial(write_file, name=name, vocab_size=vocab_size), vocab_size, settings)
        self.recurrent = name in RECURRENT

    def truncate(self, cache, length):
        """Drop the tokens from index `length` on, if what the next token needs is still there."""
        self.check_kept(cache, length)
        self.cut(cache, length, len(cache.positions))

    def copy_prefix(self, cache, length):
        """Return a new sequence with the first `length` tokens."""
        self.check_kept(cache, length)
        return super().copy_prefix(cache, length)

    def check_kept(self, cache, length):
        """Refuse to go back to a length whose state is lost."""
        if self.recurrent and length not in (0, len(cache.positions)):
            raise NotImplementedError("a recurrent state cannot go back")
        oldest = llama_cpp.llama_memory_seq_pos_min(self.memory, cache.number)
        if not self.recurrent and oldest > max(0, length - WINDOW + 1):
            raise NotImplementedError("the window of this length is lost")
