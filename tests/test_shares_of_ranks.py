"""Tensor parallelism, as far as one process shows it: the parts of all ranks together are the model, each part once."""

from dataclasses import replace

import gguf
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from random_models import architectures, random_checkpoint
from safetensors.numpy import save_file
from tiny_folder import CONFIG, weights
from tiny_gguf import write_gguf

from minillm.estimate.sharding import largest_share, share_of
from minillm.loading.gguf.file import read_gguf
from minillm.loading.safetensors_file import read_safetensors
from minillm.parallel.shard import cut, share_of_rank

WIDE = CONFIG | {"hidden_size": 64, "intermediate_size": 128, "vocab_size": 64, "num_hidden_layers": 1}
BY_ROWS = ("q_proj.weight", "gate_proj.weight", "up_proj.weight", "embed_tokens.weight", "lm_head.weight")
BY_COLUMNS = ("o_proj.weight", "down_proj.weight")


@given(config=architectures(), ranks=st.integers(1, 5))
def test_the_parts_of_all_ranks_are_the_model(config, ranks):
    assume(ranks <= config.num_attention_heads)
    whole, largest = random_checkpoint(config, 0), largest_share(config, ranks)
    shares = [share_of_rank(config, ranks, rank) for rank in range(ranks)]
    parts = [cut(whole, share) for share in shares]
    for name, tensor in whole.tensors.items():
        values = [part.tensors[name].read() for part in parts]
        if name.endswith(BY_ROWS) or name.endswith(("gate_proj.bias", "up_proj.bias", "q_proj.bias")):
            values = [np.concatenate(values)]
        elif name.endswith(BY_COLUMNS):
            values = [np.concatenate(values, axis=1)]
        if "k_proj" not in name and "v_proj" not in name:  # KV heads may be on several ranks
            assert all(np.array_equal(found, tensor.read()) for found in values)
    for field in ("num_attention_heads", "num_key_value_heads", "intermediate_size", "vocab_size"):
        assert max(getattr(share.config, field) for share in shares) == getattr(largest, field)


@given(config=architectures(), ranks=st.integers(1, 5), head=st.integers(0, 8))
def test_each_head_reads_its_own_kv_head(config, ranks, head):
    """Its place in attention's groups is that of its KV head among those of the rank."""
    assume(ranks <= config.num_attention_heads)
    head %= config.num_attention_heads
    share = next(s for s in (share_of_rank(config, ranks, rank) for rank in range(ranks)) if head in s.heads)
    even, own = share.even_places(), head - share.heads.start
    place, places = (own, len(share.heads)) if even is None else (even[0][own], even[1])
    group = config.num_attention_heads // config.num_key_value_heads
    assert share.kv_heads[place // (places // len(share.kv_heads))] == head // group
    assert even is None or len(set(even[0])) == len(share.heads)


@given(config=architectures(), ranks=st.integers(2, 4))
def test_groups_of_32_weights_are_not_cut(config, ranks):
    config = replace(config, intermediate_size=150, head_dim=8)
    if share_of(config.num_attention_heads, 4) < ranks:
        with pytest.raises(ValueError, match=r"cannot share .* query heads, which are cut by 4; use at most \d rank"):
            share_of_rank(config, ranks, 0, grouped=True)
        return
    for share in (share_of_rank(config, ranks, rank, grouped=True) for rank in range(ranks)):
        assert share.inner.start % 32 == 0 == share.heads.start * 8 % 32


@given(config=architectures())
def test_more_ranks_than_heads(config):
    heads = config.num_attention_heads
    with pytest.raises(
        ValueError, match=rf"^{heads + 1} ranks cannot share the model's {heads} query heads; use at most"
    ):
        share_of_rank(config, heads + 1, 0)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_a_part_of_a_safetensors_matrix_is_that_part_of_the_whole(dtype, tmp_path):
    values = np.arange(70.0).reshape(7, 10).astype(dtype)
    save_file({"a": np.ones(3, np.float32), "m": values}, tmp_path / "x.safetensors")
    tensor = read_safetensors(tmp_path / "x.safetensors")["m"]
    every = range(7), range(10)
    for rows, columns in (every, (range(2, 5), range(10)), (range(7), range(3, 10)), (range(1, 2), range(4))):
        found = tensor.cut(rows, columns)
        assert found.shape == (len(rows), len(columns))
        assert np.array_equal(found.read(), values[rows.start : rows.stop, columns.start : columns.stop])


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0"])
def test_a_part_of_a_gguf_matrix_is_that_part_of_the_whole(kind, tmp_path):
    """Whole heads of rows, in the order of Hugging Face; of columns also where blocks lie partly outside."""
    write_gguf(tmp_path / "m.gguf", WIDE, weights(WIDE), kind)
    tensors = read_gguf(tmp_path / "m.gguf").tensors
    d = 64 // WIDE["num_attention_heads"]
    q, down = (tensors[f"model.layers.0.{name}.weight"] for name in ("self_attn.q_proj", "mlp.down_proj"))
    assert np.array_equal(q.cut(range(d, 2 * d), range(64)).read(), q.read()[d : 2 * d])
    for columns in (range(32, 96), range(0, 40), range(50, 128), range(33, 34)):
        part = down.cut(range(64), columns)
        assert part.shape == (64, len(columns))
        assert np.array_equal(part.read(), down.read()[:, columns.start : columns.stop])
    if gguf.GGMLQuantizationType[kind].name in ("Q8_0", "Q4_0", "Q4_1"):
        part, whole = down.cut(range(64), range(32, 96)).stored(), down.stored()
        assert np.array_equal(part.dequantize(), whole.dequantize()[:, 32:96])


def test_a_file_that_became_shorter_is_told(tmp_path):
    save_file({"m": np.ones((8, 8), np.float32)}, tmp_path / "x.safetensors")
    part = read_safetensors(tmp_path / "x.safetensors")["m"].cut(range(8), range(4, 8))
    data = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(data[:-40])
    with pytest.raises(ValueError, match=r"became shorter|changed"):
        part.read()
