"""llama.cpp and its memory of sequences, through the low-level functions of llama-cpp-python.

    pytest --minillm-engine llamacpp        (needs llama-cpp-python and gguf)

The weights are written as a GGUF file with the gguf package, in float32. A cache is a sequence of one context: its
number, and the positions of its tokens. llama.cpp names positions, the properties name indices; they differ after
`remove` and `shift`.

The engines differ in the context: all sequences in one buffer (`unified`), a buffer for each (`streams`), passes of at
most 4 tokens (`small_passes`), a state in a file (`file`), the state of the whole context (`whole`), the fused kernel
of attention (`flash`), keys of 8 bits (`q8_0`). Blocks of q8_0 have 32 numbers, so its models have heads of 32 and
random weights of their own; it is compared with itself.
"""

import ctypes
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import gguf
import llama_cpp
import numpy as np

from minillm.verification.models import random_weights

TOLERANCE = 1e-4
FEATURES = ("qk_norm", "bias")
SETTINGS = {"FEATURES": FEATURES, "TOLERANCE": TOLERANCE}
SEQUENCES, CAPACITY = 32, 256  # of a context; tokens of a sequence
CONTEXTS = {
    "unified": {"kv_unified": True},
    "streams": {"kv_unified": False},
    "small_passes": {"kv_unified": True, "n_ubatch": 4},
}
ON = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "model.embed_tokens": "token_embd",
    "model.norm": "output_norm", "lm_head": "output",
}  # fmt: skip

quiet = llama_cpp.llama_log_callback(lambda *_: None)
llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
llama_cpp.minillm_quiet = quiet  # the C library calls it as long as the process lives, longer than this module may
llama_cpp.llama_backend_init()


def engines():
    """Yield the name of each kind of context and what makes its engines."""
    for name, settings in CONTEXTS.items():
        yield name, SimpleNamespace(make_engine=partial(make_engine, settings=settings), **SETTINGS)
    for name, kind in (("file", StateFiles), ("whole", WholeStates)):
        yield name, SimpleNamespace(make_engine=partial(make_engine, kind=kind), **SETTINGS)
    flash = partial(make_engine, settings={"kv_unified": True, "flash_attn_type": ON})
    yield "flash", SimpleNamespace(make_engine=flash, FEATURES=FEATURES, DTYPE="float16")
    yield "q8_0", SimpleNamespace(make_engine=make_q8_0, REFERENCE="self", TOLERANCE=0.05)


def make_engine(config, weights, settings=CONTEXTS["unified"], kind=None):
    """Return an engine of the plainest kind, or of another one."""
    write = partial(write_file, config=config, weights=weights)
    return (kind or Engine)(write, config.vocab_size, settings)


def make_q8_0(config, weights):
    """Return an engine whose keys have 8 bits. Its model has heads of 32 numbers."""
    wide = replace(config, head_dim=32)
    return make_engine(wide, random_weights(wide), {"kv_unified": True, "type_k": llama_cpp.GGML_TYPE_Q8_0})


def write_file(path, config, weights):
    """Write the model as a GGUF file."""
    architecture = "qwen3" if config.qk_norm else "llama"  # "llama" may have biases
    if any(config.sliding_windows):
        raise NotImplementedError("no architecture of llama.cpp has these windows and is otherwise a Llama")
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope.rope_theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    heads = {"self_attn.q_proj": config.num_attention_heads, "self_attn.k_proj": config.num_key_value_heads}
    for name, array in weights.items():
        part, kind = name.removeprefix("model.layers.").rsplit(".", 1)
        number, _, inner = part.partition(".")
        layer, part = (f"blk.{number}.", inner) if name.startswith("model.layers.") else ("", part)
        if architecture == "llama" and part in heads:  # llama.cpp rotates neighbours, not halves
            array = array.reshape(heads[part], 2, -1, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)
        writer.add_tensor(f"{layer}{NAMES[part]}.{kind}", np.ascontiguousarray(array, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Sequence:
    """A cache: the number of a sequence, and the positions of its tokens."""

    def __init__(self, number, positions=()):
        self.number, self.positions = number, list(positions)

    def next(self):
        """Return the position of the next token."""
        return self.positions[-1] + 1 if self.positions else 0


class Engine:
    """The functions that are tested."""

    def __init__(self, write, vocab_size, settings):
        """Write a file with `write(path)`, load it, and make a context."""
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / "model.gguf")
            parameters = llama_cpp.llama_model_default_params()
            parameters.n_gpu_layers, parameters.use_mmap = 0, False
            self.model = llama_cpp.llama_model_load_from_file(f"{folder}/model.gguf".encode(), parameters)
        assert self.model, "llama.cpp cannot load the file"
        self.settings, self.vocab_size = settings, vocab_size
        self.context = self.new_context()
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.free, self.used = list(range(SEQUENCES)), []

    def new_context(self):
        """Return a context of the model."""
        usual = llama_cpp.llama_context_default_params()
        usual.n_ctx, usual.n_seq_max = SEQUENCES * CAPACITY, SEQUENCES
        usual.n_batch = usual.n_ubatch = CAPACITY
        usual.n_threads = usual.n_threads_batch = 1
        usual.type_k = usual.type_v = llama_cpp.GGML_TYPE_F32
        usual.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it would round to 16 bits
        for name, value in self.settings.items():
            setattr(usual, name, value)
        context = llama_cpp.llama_init_from_model(self.model, usual)
        assert context, "llama.cpp cannot make the context"
        return context

    def __del__(self):
        if getattr(self, "context", None) and llama_cpp and llama_cpp.llama_free:  # None when Python ends
            llama_cpp.llama_free(self.context)
            llama_cpp.llama_model_free(self.model)

    def new_cache(self):
        """Return an empty sequence."""
        if not self.free:
            raise NotImplementedError(f"all {SEQUENCES} sequences of the context are in use")
        self.used.append(Sequence(self.free.pop(0)))
        return self.used[-1]

    def batch(self, pairs):
        """Append tokens to each sequence, in one call. Return the logits [sequences, vocab] after the last of each."""
        total = sum(len(tokens) for tokens, _ in pairs)
        batch, rows = llama_cpp.llama_batch_init(total, 0, 1), []
        for tokens, cache in pairs:
            for number, token in enumerate(tokens):
                row, last = batch.n_tokens, number == len(tokens) - 1
                batch.token[row], batch.pos[row], batch.logits[row] = token, cache.next(), last
                batch.n_seq_id[row], batch.seq_id[row][0] = 1, cache.number
                cache.positions.append(cache.next())
                batch.n_tokens = row + 1
            rows.append(batch.n_tokens - 1)
        status = llama_cpp.llama_decode(self.context, batch)
        llama_cpp.llama_batch_free(batch)
        if status != 0:
            raise RuntimeError(f"llama_decode returned {status}")
        return np.array([self.logits(row) for row in rows])

    def logits(self, row):
        """Return the logits [vocab] of a row of the last batch."""
        return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.context, row), (self.vocab_size,)).copy()

    def prefill(self, tokens, cache):
        """Append tokens. Return the logits [vocab] after the last one."""
        return self.batch([(tokens, cache)])[0]

    def decode(self, token, cache):
        """Append one token. Return the logits [vocab] after it."""
        return self.prefill([token], cache)

    def truncate(self, cache, length):
        """Drop the tokens from index `length` on."""
        self.cut(cache, length, len(cache.positions))

    def remove(self, cache, begin, end):
        """Drop the tokens at the indices begin to end - 1. The positions of all others stay."""
        self.cut(cache, begin, end)

    def cut(self, cache, begin, end):
        """Drop the tokens at the indices begin to end - 1."""
        if begin < end:
            first, last = cache.positions[begin], cache.positions[end - 1]
            if not llama_cpp.llama_memory_seq_rm(self.memory, cache.number, first, last + 1):
                raise NotImplementedError("a part of this sequence cannot be removed")
            del cache.positions[begin:end]

    def shift(self, cache, begin, by):
        """Add `by` to the positions of the tokens from index `begin` on."""
        if not llama_cpp.llama_memory_can_shift(self.memory):
            raise NotImplementedError("this memory cannot shift")
        if begin < len(cache.positions):
            llama_cpp.llama_memory_seq_add(self.memory, cache.number, cache.positions[begin], -1, by)
            cache.positions[begin:] = [position + by for position in cache.positions[begin:]]

    def fork(self, cache):
        """Return an independent sequence with the same tokens."""
        copy = self.new_cache()
        llama_cpp.llama_memory_seq_cp(self.memory, cache.number, copy.number, -1, -1)
        copy.positions = list(cache.positions)
        return copy

    def copy_prefix(self, cache, length):
        """Return a new sequence with the first `length` tokens. The tokens are shared, not copied."""
        if not self.settings["kv_unified"]:
            raise NotImplementedError("seq_cp() is only supported for full KV buffers")  # llama.cpp's own message
        copy = self.new_cache()
        if length:
            end = cache.positions[length - 1] + 1
            llama_cpp.llama_memory_seq_cp(self.memory, cache.number, copy.number, 0, end)
            copy.positions = cache.positions[:length]
        return copy

    def keep(self, cache):
        """Empty every other sequence."""
        llama_cpp.llama_memory_seq_keep(self.memory, cache.number)
        for other in self.used:
            if other is not cache:
                other.positions.clear()

    def reorder(self, caches, order):
        """Return the sequences in another order. The old ones are not used again."""
        copies = [self.fork(caches[index]) for index in order]
        for cache in caches:
            self.release(cache)
        return copies

    def release(self, cache):
        """Empty a sequence. Its number will be used again."""
        llama_cpp.llama_memory_seq_rm(self.memory, cache.number, -1, -1)
        self.used.remove(cache)
        self.free.insert(0, cache.number)

    def save(self, cache):
        """Return the state of a sequence: its bytes, and the positions."""
        size = llama_cpp.llama_state_seq_get_size(self.context, cache.number)
        data = (ctypes.c_uint8 * size)()
        written = llama_cpp.llama_state_seq_get_data(self.context, data, size, cache.number)
        return bytes(data[:written]), list(cache.positions)

    def restore(self, state):
        """Return a new sequence with the tokens of a state."""
        data, positions = state
        cache = self.new_cache()
        buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
        if not llama_cpp.llama_state_seq_set_data(self.context, buffer, len(data), cache.number):
            raise RuntimeError("llama_state_seq_set_data returned 0")
        cache.positions = list(positions)
        return cache


class StateFiles(Engine):
    """An engine whose saved states are files."""

    def save(self, cache):
        """Return the content of a state file, and the positions."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "state"
            number = ctypes.c_int(cache.number)
            assert llama_cpp.llama_state_seq_save_file(self.context, str(path).encode(), number, None, 0)
            return path.read_bytes(), list(cache.positions)

    def restore(self, state):
        """Return a new sequence with the tokens of a state."""
        cache, read = self.new_cache(), ctypes.c_size_t()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "state"
            path.write_bytes(state[0])
            name, number, room = str(path).encode(), ctypes.c_int(cache.number), (llama_cpp.llama_token * 1)()
            assert llama_cpp.llama_state_seq_load_file(self.context, name, number, room, 0, ctypes.byref(read))
        cache.positions = list(state[1])
        return cache


class WholeStates(Engine):
    """An engine that saves its whole context. A sequence is restored by way of a second context."""

    def save(self, cache):
        """Return the state of all sequences, the number of one of them, and its positions."""
        size = llama_cpp.llama_state_get_size(self.context)
        data = (ctypes.c_uint8 * size)()
        written = llama_cpp.llama_state_get_data(self.context, data, size)
        return bytes(data[:written]), cache.number, list(cache.positions)

    def restore(self, state):
        """Return a new sequence with the tokens that the saved one had."""
        data, number, positions = state
        buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
        here, self.context = self.context, self.new_context()
        try:
            if not llama_cpp.llama_state_set_data(self.context, buffer, len(data)):
                raise RuntimeError("llama_state_set_data returned 0")
            one = super().save(Sequence(number, positions))
        finally:
            llama_cpp.llama_free(self.context)
            self.context = here
        return super().restore(one)
