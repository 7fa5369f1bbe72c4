"""Models written as GGUF files are read back to the bit: weights in every format, config, and tokenizer."""

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize
from hypothesis import given
from hypothesis import strategies as st
from interrupts import hear_interrupts
from random_models import random_checkpoint
from tensors import ArrayTensor
from test_checks import CONFIG
from tiny_tokenizer import CHATML, definition, llama2_style, llama2_tokenizer, tiny_tokenizer

import minillm
from minillm.backends.exact import Exact
from minillm.config import ModelConfig, RopeParameters
from minillm.loading import open_checkpoint
from minillm.loading.build import build
from minillm.loading.checkpoint import Checkpoint
from minillm.loading.gguf.header import read_header
from minillm.loading.gguf.tensor import blocks, permute, to_blocks, unpermute
from minillm.loading.gguf.write import TYPES, type_of, write_gguf
from minillm.quantization import Int4, quantize
from minillm.text.special_tokens import SpecialTokens
from minillm.text.tokenizer import Tokenizer

IN_BLOCKS = dataclasses.replace(
    CONFIG, vocab_size=40, hidden_size=32, intermediate_size=64, num_attention_heads=4, num_key_value_heads=2,
    head_dim=8,
)  # fmt: skip
FORMATS = list(TYPES)
IDS = [3, 1, 4, 1, 5, 9, 2, 6]


def checkpoint(config: ModelConfig = IN_BLOCKS, tokenizer: Tokenizer | None = None) -> Checkpoint:
    """Random weights in float32, as files have them."""
    made = random_checkpoint(config, 7)
    tensors = {name: ArrayTensor(tensor.values.astype(np.float32)) for name, tensor in made.tensors.items()}
    return dataclasses.replace(made, tensors=tensors, tokenizer=tokenizer)


def written(folder, given: Checkpoint, weights: str = "float32") -> Checkpoint:
    write_gguf(given, folder / "model.gguf", weights)
    return open_checkpoint(folder / "model.gguf")


@given(heads=st.integers(1, 4), half=st.integers(1, 5), dim=st.integers(1, 3))
def test_permute_undoes_unpermute(heads, half, dim):
    rows = np.arange(heads * 2 * half * dim).reshape(-1, dim)
    assert np.array_equal(permute(unpermute(rows, heads), heads), rows)


def test_pairs_lie_side_by_side():
    """Two heads of four rows: (0, 2), (1, 3) are pairs in Hugging Face's order."""
    assert permute(np.arange(8), 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("weights", ["bfloat16", "int8", "int4"])
@given(data=st.data())
def test_the_bytes_of_blocks_are_the_numbers_of_the_matrix(weights, data):
    """As this program reads them, and as the gguf library does."""
    rows, groups = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    values = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(rows, 32 * groups))
    matrix = quantize(values, weights)
    stored = to_blocks(matrix)
    again = blocks(stored, TYPES[weights], 32 * groups)
    assert all(np.array_equal(a, b) for a, b in zip(again.arrays(), matrix.arrays(), strict=True))
    theirs = dequantize(stored, gguf.GGMLQuantizationType[TYPES[weights]])
    assert np.array_equal(theirs, matrix.dequantize())


def test_minimums_of_q4_0_that_are_too_large_for_float16_have_no_blocks():
    wide = Int4(np.zeros((1, 1, 16), np.uint8), np.ones((1, 1), np.float16), np.full((1, 1), -1e5, np.float32), 32)
    with pytest.raises(ValueError, match="GGUF has no type for its blocks of int4"):
        to_blocks(wide)


@pytest.mark.parametrize("weights", FORMATS)
def test_the_file_computes_with_the_numbers_of_the_model_in_that_format(tmp_path, weights):
    given = checkpoint()
    original = build(given, Exact(), np.dtype(np.float64), weights)
    read = build(written(tmp_path, given, weights), Exact(), np.dtype(np.float64), "stored")
    assert np.array_equal(minillm.forward(read, IDS), minillm.forward(original, IDS))
    types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    wide = {"token_embd.weight", "output.weight"}  # in int4 they have int8
    assert {types[name] for name in types if name not in wide and not name.endswith("norm.weight")} == {TYPES[weights]}
    assert {types[name] for name in wide & set(types)} == {TYPES["int8" if weights == "int4" else weights]}
    assert {types[name] for name in types if name.endswith("norm.weight")} == {"F32"}


@pytest.mark.parametrize("weights", ["bfloat16", "int8", "int4"])
def test_numbers_that_are_stored_in_the_format_are_not_rounded_again(tmp_path, weights):
    first = written(tmp_path, checkpoint(), weights)
    write_gguf(first, tmp_path / "again.gguf", weights)
    again = open_checkpoint(tmp_path / "again.gguf")
    for name, tensor in first.tensors.items():
        assert np.array_equal(again.tensors[name].read(), tensor.read()), name


BIASES = {"attention_bias": True, "attention_output_bias": True, "mlp_bias": True}
FACTORS = tuple(float(factor) for factor in np.linspace(1, 8, 4, dtype=np.float32))
VARIANTS = {
    "tied": {"tie_word_embeddings": True},
    "untied": {"tie_word_embeddings": False},
    "biases": BIASES,
    "numbers": {"rope": RopeParameters(rope_theta=5000.0), "rms_norm_eps": 1e-6},
    "linear RoPE": {"rope": RopeParameters(rope_type="linear", factor=2.0)},
    "RoPE factors": {"rope": RopeParameters(frequency_factors=FACTORS)},
    "window": {"model_type": "mistral", "sliding_windows": (4, 4)},
    "qwen2": {"model_type": "qwen2", "attention_bias": True},
    "qwen3": {"model_type": "qwen3", "qk_norm": True},
    "head_dim": {"head_dim": 16},
}


@pytest.mark.parametrize("change", VARIANTS.values(), ids=VARIANTS)
def test_what_is_written_is_read_back(tmp_path, change):
    given = checkpoint(dataclasses.replace(IN_BLOCKS, **change))
    read = written(tmp_path, given)
    assert read.config == dataclasses.replace(given.config, eos_token_ids=())  # no tokenizer, so no ends
    assert read.tensors.keys() == given.tensors.keys()
    for name, tensor in given.tensors.items():
        assert np.array_equal(read.tensors[name].read(), tensor.read()), name


def test_the_rope_of_llama_3_is_written_as_factors(tmp_path):
    rope = RopeParameters(500_000.0, "llama3", 8.0, 1.0, 4.0, original_max_position_embeddings=16)
    given = checkpoint(dataclasses.replace(IN_BLOCKS, rope=rope))
    original, read = (build(each, Exact(), np.dtype(np.float64)) for each in (given, written(tmp_path, given)))
    np.testing.assert_allclose(minillm.forward(read, IDS), minillm.forward(original, IDS), rtol=1e-5, atol=1e-5)


REFUSED = {
    "qk_norm": ({"qk_norm": True}, r"'llama' cannot have self_attn\.k_norm\.weight"),
    "biases of qwen3": ({"model_type": "qwen3", "qk_norm": True, "attention_bias": True}, "'qwen3' cannot have self_a"),
    "windows": ({"sliding_windows": (None, 4)}, "cannot have windows that differ between layers"),
    "window of qwen2": ({"model_type": "qwen2", "sliding_windows": (4, 4)}, "'qwen2' cannot have a sliding window"),
    "factors of qwen2": ({"model_type": "qwen2", "rope": RopeParameters(frequency_factors=FACTORS)}, "RoPE factors"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_what_the_architecture_lacks_is_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=f"^random: a GGUF file of architecture .*{message}"):
        written(tmp_path, checkpoint(dataclasses.replace(IN_BLOCKS, **change)))
    assert not list(tmp_path.iterdir())


def test_rows_that_are_not_whole_blocks_stay_float32(tmp_path):
    given = checkpoint(dataclasses.replace(IN_BLOCKS, intermediate_size=40))
    with pytest.warns(UserWarning, match="^random: matrices with rows of 40 stay float32: a row of int8 is a multiple"):
        read = written(tmp_path, given, "int8")
    down, up = (f"model.layers.0.mlp.{name}_proj.weight" for name in ("down", "up"))
    assert (read.tensors[down].format, read.tensors[up].format) == ("float32", "int8")
    assert np.array_equal(read.tensors[down].read(), given.tensors[down].read())


def test_only_formats_with_blocks_need_whole_blocks():
    types = [type_of("model.layers.0.mlp.up_proj.weight", (3, 20), weights) for weights in TYPES]
    assert types == ["F32", "BF16", "F32", "F32"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_permissions_of_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        written(tmp_path, checkpoint())
    finally:
        os.umask(before)
    assert (tmp_path / "model.gguf").stat().st_mode & 0o777 == mode


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path):
    written(tmp_path, checkpoint())
    (tmp_path / "model.gguf").chmod(0o640)
    written(tmp_path, checkpoint(), "int8")
    assert (tmp_path / "model.gguf").stat().st_mode & 0o777 == 0o640


def test_a_tensor_that_no_model_of_the_family_has_is_left_out(tmp_path):
    given = checkpoint()
    more = dict(given.tensors) | {"model.vision.weight": ArrayTensor(np.ones(3, np.float32))}
    with pytest.warns(UserWarning, match="^random: not written: 1 tensor: 'model.vision.weight'"):
        read = written(tmp_path, dataclasses.replace(given, tensors=more))
    assert read.tensors.keys() == given.tensors.keys()


def test_a_weight_that_the_format_cannot_express_is_named(tmp_path):
    given = checkpoint()
    name = "model.layers.1.mlp.up_proj.weight"
    tensors = dict(given.tensors) | {name: ArrayTensor(np.full((64, 32), np.inf, np.float32))}
    with pytest.raises(ValueError, match=f"^random: tensor {name}: a weight is infinite"):
        written(tmp_path, dataclasses.replace(given, tensors=tensors), "int8")
    assert not list(tmp_path.iterdir())


# Tokenizers


def with_tokenizer(tokenizer: Tokenizer, **change) -> Checkpoint:
    size = tokenizer.vocab_size + 3  # vocabularies are often padded
    return checkpoint(dataclasses.replace(IN_BLOCKS, vocab_size=size, **change), tokenizer)


TEXTS = ["abc 12", "Once upon a time, 42 cats\n\n  isn't é漢 <|im_end|></s>", "  a ab", ""]


def sentencepiece() -> Tokenizer:
    """With all merges that transformers makes of the pieces: every pair that forms one."""
    values = llama2_style()
    values["model"]["merges"].append(["▁", "ab"])
    names = SpecialTokens({"bos_token": "<s>", "eos_token": "</s>"})
    return Tokenizer(json.dumps(values).encode(), tokens=names, add_bos=True)


@pytest.mark.parametrize("tokenizer", [tiny_tokenizer(), sentencepiece()], ids=["byte-level", "SentencePiece"])
def test_a_tokenizer_that_is_read_back_gives_the_same_tokens(tmp_path, tokenizer):
    read = written(tmp_path, with_tokenizer(tokenizer, bos_token_id=1, eos_token_ids=(2,))).tokenizer
    assert [read.encode_prompt(text) for text in TEXTS] == [tokenizer.encode_prompt(text) for text in TEXTS]
    ids = tokenizer.encode(TEXTS[1])
    assert read.decode(ids) == tokenizer.decode(ids)
    assert read.chat_template == tokenizer.chat_template
    assert {text: read.special_tokens[text] for text in tokenizer.special_tokens} == tokenizer.special_tokens


@pytest.mark.parametrize("name", ["story", "story-draft"])
def test_the_bundled_tokenizer_is_read_back(tmp_path, name):
    original, read = open_checkpoint(name), written(tmp_path, open_checkpoint(name), "int4")
    assert [read.tokenizer.encode(text) for text in TEXTS] == [original.tokenizer.encode(text) for text in TEXTS]
    assert read.config == original.config


def test_messages_and_ends_are_those_of_the_model(tmp_path):
    tokenizer = Tokenizer(
        json.dumps(definition()).encode(), chat_template=CHATML,
        tokens=SpecialTokens({"eos_token": "<|im_end|>", "pad_token": "<|im_start|>"}),
    )  # fmt: skip
    read = written(tmp_path, with_tokenizer(tokenizer, eos_token_ids=(7, 1, 9)))
    assert read.config.eos_token_ids == (1, 7, 9)  # the tokenizer's own name comes first
    messages = [{"role": "user", "content": "abc"}]
    assert read.tokenizer.apply_chat_template(messages) == tokenizer.apply_chat_template(messages)
    assert read.tokenizer.named_tokens["pad_token"] == "<|im_start|>"


def changed_definition(**parts) -> Tokenizer:
    values = definition()
    model = parts.pop("model", {})
    return Tokenizer(json.dumps(values | parts | {"model": values["model"] | model}).encode())


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
INEXPRESSIBLE = {
    "cut": (changed_definition(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "x+"}, "behavior": "Isolated", "invert": False}, BYTE_LEVEL]}),
        "GGUF has no name for the rule by which it cuts"),
    "split at spaces": (changed_definition(pre_tokenizer={"type": "WhitespaceSplit"}), "GGUF has no name for the rule"),
    "normalizer": (changed_definition(normalizer={"type": "NFKC"}), "GGUF has no name for the rule"),
    "byte tokens": (changed_definition(model={"byte_fallback": True}), "it is not SentencePiece's BPE"),
    "merges without scores": (llama2_tokenizer(), "it is not SentencePiece's BPE"),
    "two tokens at the beginning": (changed_definition(post_processor={
        "type": "TemplateProcessing", "pair": [{"Sequence": {"id": "B", "type_id": 0}}],
        "single": [*[{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}] * 2,
                   {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [0], "tokens": ["<|im_start|>"]}}}),
        "it begins a prompt with 2 tokens"),
}  # fmt: skip


@pytest.mark.parametrize(("tokenizer", "message"), INEXPRESSIBLE.values(), ids=INEXPRESSIBLE)
def test_a_tokenizer_that_gguf_cannot_express_is_left_out(tmp_path, tokenizer, message):
    expected = f"^random: written without its tokenizer, for token ids: {message}"
    with pytest.warns(UserWarning, match=expected):
        read = written(tmp_path, with_tokenizer(tokenizer))
    assert read.tokenizer is None and read.config.vocab_size == tokenizer.vocab_size + 3
    assert read_header(tmp_path / "model.gguf").metadata["tokenizer.ggml.model"] == "no_vocab"


def test_a_tokenizer_with_more_tokens_than_the_model_is_left_out(tmp_path):
    with pytest.warns(UserWarning, match="it has a token 260, but the model has 40 tokens"):
        assert written(tmp_path, checkpoint(IN_BLOCKS, tiny_tokenizer())).tokenizer is None


# Files


def test_a_file_that_cannot_be_completed_leaves_nothing_and_the_old_one_stays(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_text("the old one")

    def fail(step, done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_gguf(checkpoint(), path, "int8", fail)
    assert [file.name for file in tmp_path.iterdir()] == ["model.gguf"] and path.read_text() == "the old one"


def test_progress_counts_the_tensors(tmp_path):
    said = []
    write_gguf(checkpoint(), tmp_path / "model.gguf", report=lambda *each: said.append(each))
    count = len(checkpoint().tensors)
    assert said == [("writing model.gguf", done, count) for done in range(count)]


PROGRAM = """
import sys, time
from pathlib import Path
from minillm.loading import open_checkpoint
from minillm.loading.gguf.write import write_gguf

def report(step, done, total):
    print(done, flush=True)
    time.sleep(float(sys.argv[2]) if done == 3 else 0)

write_gguf(open_checkpoint("story"), Path(sys.argv[1]), "int8", report)
"""


def child(path, pause, **options):
    """A process that writes story, with a pause of this many seconds in it."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", PROGRAM, str(path), str(pause)]
    return subprocess.Popen(command, text=True, **{"preexec_fn": hear_interrupts, **pipes, **options})


def test_a_full_disk_leaves_nothing(tmp_path):
    """No file may grow beyond the limit, which fails as a full disk does."""
    limit = (300_000, 300_000)
    process = child(tmp_path / "x.gguf", 0, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    _, complaint = process.communicate(timeout=60)
    assert process.returncode
    assert complaint.splitlines()[-1].startswith("OSError: [Errno ") and str(tmp_path / "x.gguf") in complaint
    assert not list(tmp_path.iterdir())


def test_ctrl_c_leaves_nothing(tmp_path):
    process = child(tmp_path / "x.gguf", 30)
    while process.stdout.readline() != "3\n":
        pass
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert complaint.splitlines()[-1] == "KeyboardInterrupt"
    assert not list(tmp_path.iterdir())
