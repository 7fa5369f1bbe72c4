"""kernels.cu itself, compiled for this processor, next to its twins: what a GPU would compute, one by one."""

import ctypes
import dataclasses
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from fake_device import FakeDevice
from golden_model import CONFIG
from kernel_twins import TWINS, widen
from random_models import random_checkpoint, random_model

import minillm
from minillm.backends.cupy import CuPy
from minillm.backends.kernels import source
from minillm.layers import rope_cos_sin
from minillm.loading.build import build

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")]
HEADER = Path(__file__).with_name("cuda_on_cpu.h")


@pytest.fixture(scope="session")
def libraries(tmp_path_factory):
    """The compiled kernels for each pair of kinds; each is made when first asked for."""
    folder, made = tmp_path_factory.mktemp("kernels"), {}

    def library(kinds):
        if kinds not in made:
            made[kinds] = compile_for_host(source(*kinds), folder / "-".join(kinds))
        return made[kinds]

    return library


def compile_for_host(code, file):
    launches = "\n".join(f"LAUNCH({name})" for name in TWINS)
    cpp, library = file.with_suffix(".cpp"), file.with_suffix(".so")
    cpp.write_text(f'#include "{HEADER}"\n{code}\n{launches}\n')
    flags = ["-std=c++17", "-O1", "-w", "-shared", "-fPIC", "-fno-strict-aliasing"]
    subprocess.run(["g++", *flags, "-o", library, cpp], check=True)
    return ctypes.CDLL(str(library))


MARGIN, NEAR = 2**16, 2**10  # bytes on both sides of an array, and how many of them are looked at
# What the margins hold, by bytes of a number: a signalling NaN, which no sum or product leaves as it is.
MARKS = {8: 0x7FF4_0000_0000_0001, 4: 0x7FA0_0001, 2: 0x7F81, 1: 0xFF}


class CompiledDevice(FakeDevice):
    """A FakeDevice whose kernels are the real ones. Around an array lies what none may use or overwrite."""

    def __init__(self, libraries):
        super().__init__()
        self.libraries = libraries

    def room(self, shape, dtype):
        itemsize, count = np.dtype(dtype).itemsize, int(np.prod(shape))
        margin = MARGIN // itemsize
        marked = np.full(margin + count + margin, MARKS[itemsize], f"u{itemsize}")
        return marked[margin : margin + count].view(dtype).reshape(shape)

    def asarray(self, host):
        if not host.flags.c_contiguous:
            return super().asarray(host)
        guarded = self.empty(host.shape, host.dtype)
        guarded.numbers[...] = host
        self.sent += 1
        return guarded

    def check_margins(self):
        for numbers in list(self._arrays.values()):
            marked, margin, near = numbers.base, MARGIN // numbers.itemsize, NEAR // numbers.itemsize
            if marked is not None:
                for side in (marked[margin - near : margin], marked[-margin : near - margin]):
                    assert (side == MARKS[numbers.itemsize]).all()

    def launch(self, name, kinds, grid, arguments):
        words = (ctypes.c_longlong * len(arguments))()
        for number, argument in enumerate(arguments):
            if isinstance(argument, float):
                ctypes.c_double.from_buffer(words, number * 8).value = argument
            else:
                words[number] = argument.data.ptr if self.has(argument) else argument or 0
        kernel = getattr(self.libraries(kinds), f"launch_{name}")
        x, y = (*grid, 1)[:2]
        self.do(name, lambda arrays=arguments: kernel(ctypes.c_longlong(x), ctypes.c_longlong(y), words))  # keeps them
        self.check_margins()


def compiled(libraries, config, dtype, seed=0):
    ops = CuPy(CompiledDevice(libraries))
    return build(random_checkpoint(config, seed), ops, ops.choose_dtype(dtype))


NARROW = dataclasses.replace(CONFIG, num_hidden_layers=2, sliding_windows=(None, 5), vocab_size=40)
ALIGNED = dataclasses.replace(
    NARROW, hidden_size=64, intermediate_size=96, head_dim=40, num_attention_heads=9, num_key_value_heads=3,
    tie_word_embeddings=True,    attention_bias=False, attention_output_bias=False, mlp_bias=False, qk_norm=False,
)  # fmt: skip


LONG = [(7 * n * n + 3 * n) % 40 for n in range(70)]


@pytest.mark.parametrize("config", [NARROW, ALIGNED])
def test_a_model_of_real_kernels(libraries, config):
    """Prefill, decode, a ragged batch over paged caches, replayed: equal to `plain` in float64."""
    model, plain = compiled(libraries, config, "float64"), random_model(config, 0, "plain")[0]
    found, expected = [], []
    for each, rows in ((model, found), (plain, expected)):
        pool = minillm.BlockPool(each, 20, 3)
        contiguous, paged = minillm.KVCache(each, 20), minillm.PagedKVCache(pool)
        rows.append(minillm.prefill(each, [3, 1, 4, 1, 5, 9, 2], contiguous))
        blocker = minillm.PagedKVCache(pool)
        for token in (7, 8, 9, 10, 11, 12):  # two that grow in turns: blocks lie scattered
            rows.extend(minillm.forward_batch(each, [([token], paged), ([2, token], blocker)], [1, 2]))
        rows.extend(minillm.forward_batch(each, [([4], contiguous), ([5], paged), ([6, 7], blocker)]))
        rows.extend(minillm.decode_step(each, token, contiguous) for token in (1, 2, 3, 4))
    for row, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(model.ops.to_host(row), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("config", [NARROW, ALIGNED])
def test_long_prompts_are_read_in_tiles(libraries, config):
    """Tiles that are full and not, one key tile and several, windows, chunks, and decoding next to them."""
    config = dataclasses.replace(config, max_position_embeddings=160)
    model, plain = compiled(libraries, config, "float64"), random_model(config, 0, "plain")[0]
    found, expected = [], []
    for each, rows in ((model, found), (plain, expected)):
        pool = minillm.BlockPool(each, 30, 5)
        contiguous, *paged = minillm.KVCache(each, 120), minillm.PagedKVCache(pool), minillm.PagedKVCache(pool)
        rows.extend(minillm.forward_batch(each, [(LONG[:70], contiguous)], [70]))
        rows.extend(minillm.forward_batch(each, [(LONG[:9], paged[0]), (LONG[:33], paged[1])], [9, 33]))
        chunks = [(LONG[:34], contiguous), ([5], paged[0]), (LONG[:40], paged[1])]
        rows.extend(minillm.forward_batch(each, chunks, [34, 1, 40]))
        rows.extend(minillm.forward_batch(each, [([n], cache) for n, cache in enumerate((contiguous, *paged))]))
    assert [model.ops.device.launches[name] for name in ("attention_in_tiles", "attention")] == [3 * 2, 1 * 2]
    for row, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(model.ops.to_host(row), wanted, rtol=1e-9, atol=1e-9)


def test_heads_too_wide_for_tiles_are_read_without(libraries):
    config = dataclasses.replace(ALIGNED, num_hidden_layers=1, sliding_windows=(None,), head_dim=130,
                                 num_attention_heads=1, num_key_value_heads=1, max_position_embeddings=160)  # fmt: skip
    for dtype, name in (("float64", "attention"), ("float32", "attention_in_tiles")):
        model, plain = compiled(libraries, config, dtype), random_model(config, 0, "plain", dtype)[0]
        scale = np.abs(prefilled(plain, LONG[:40])).max()
        np.testing.assert_allclose(prefilled(model, LONG[:40]), prefilled(plain, LONG[:40]), atol=1e-5 * scale)
        assert model.ops.device.launches[name] == 1


def prefilled(model, prompt):
    return model.ops.to_host(minillm.prefill(model, prompt, minillm.KVCache(model, 50)))


# A kernel that goes one too far: what it reads there is NaN, and what it writes there is found.
TOO_FAR = {
    "a column that there is not": ("|| column + c >= outs) continue", "|| column + c > outs) continue"),
    "keys behind the newest": ("p + e <= position ? score :", "true ? score :"),
    "a number behind a row of gates": ("if (i >= inner) return", "if (i > inner) return"),
    "rows behind the last tile": ("if (row < rows && i * WARP + lane < head_dim)", "if (i * WARP + lane < head_dim)"),
    "keys behind the last": ("+ warp < end ? from[n][i] : 0", "+ warp < end + 99 ? from[n][i + 400] : 0"),
}


@pytest.mark.parametrize("right, wrong", TOO_FAR.values(), ids=TOO_FAR)
def test_a_step_too_far_is_found(tmp_path, right, wrong):
    code = source("float64", "float64")
    assert code.count(right) == 1
    library = compile_for_host(code.replace(right, wrong), tmp_path / "far")
    config = dataclasses.replace(NARROW, vocab_size=41)  # not a multiple of anything
    plain, model = random_model(config, 0, "plain")[0], compiled(lambda _: library, config, "float64")
    with pytest.raises(AssertionError):
        assert all(np.allclose(prefilled(model, prompt), prefilled(plain, prompt)) for prompt in (LONG[:7], LONG[:40]))


# One block relies on another, or a thread on one that has not come so far: right only if they run in a lucky order.
RACES = {
    "new keys are read from the cache, which another block writes": ("p < s.cached ? cache", "true ? cache"),
    "sums of warps are read before all are there": (
        "sums[threadIdx.x / WARP] = x;\n    __syncthreads();", "sums[threadIdx.x / WARP] = x;",
    ),
    "parts of warps are joined before all are there": ("totals[warp] = total;\n    __syncthreads();",
                                                       "totals[warp] = total;"),
    "a tile is overwritten while others read it": (": end - 1);\n    __syncthreads();", ": end - 1);"),
    "a tile is read before all of it is there": ("= numbers[n];\n    }\n    __syncthreads();", "= numbers[n];\n    }"),
}  # fmt: skip


@pytest.mark.parametrize("right, wrong", RACES.values(), ids=RACES)
def test_a_race_is_found(tmp_path, right, wrong):
    code = source("float64", "float64")
    assert code.count(right) == 1
    library = compile_for_host(code.replace(right, wrong), tmp_path / "race")
    plain, model = random_model(ALIGNED, 0, "plain")[0], compiled(lambda _: library, ALIGNED, "float64")
    assert not all(np.allclose(prefilled(model, prompt), prefilled(plain, prompt)) for prompt in (LONG[:7], LONG[:40]))


@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
def test_products_read_weights_of_every_kind(libraries, stored):
    """Few rows and one, rows of weights that begin at a multiple of 16 bytes and rows that do not."""
    ops, generator = CuPy(CompiledDevice(libraries)), np.random.default_rng(0)
    ops.choose_dtype(stored)
    for rows, inner, outs in ((1, 64, 9), (1, 61, 8), (11, 24, 17), (8, 7, 3)):
        shapes = ((rows, inner), (inner, outs), (outs,))
        x, weight, bias = (generator.normal(size=shape).astype(np.float32) for shape in shapes)
        prepared = ops.prepare([ops.array(weight.T.copy())])
        found = ops.to_host(ops.linear(ops.array(x), prepared, ops.array(bias)))
        expected = x.astype(float) @ widen(prepared.numbers).T.astype(float) + bias
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_angles_of_far_positions_are_float64(libraries):
    """In float32 the angle of position 100,003 would be wrong by hundredths."""
    ops, positions = CuPy(CompiledDevice(libraries)), np.array([0, 1, 4097, 100_003])
    found = ops.cos_sin(positions, CONFIG.rope, CONFIG.head_dim)
    for part, expected in zip(found, rope_cos_sin(positions, CONFIG.rope, CONFIG.head_dim), strict=True):
        np.testing.assert_allclose(ops.to_host(part), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("stored, place", [("float16", 2.0**-10), ("bfloat16", 2.0**-7)])
def test_weights_are_rounded_to_even(libraries, stored, place):
    """`place` is what the last place of 1 is worth. Numbers that are too large or too small are among them."""
    near_one = [1 + place / 2, 1 + 3 * place / 2, -1 - place / 2 - 2**-20]
    values = [*near_one, 0, 3.4e38, -65519, 65520, 1e-40, 3e-6, 2**-25]
    found = []
    for device in (CompiledDevice(libraries), FakeDevice()):
        ops = CuPy(device)
        ops.choose_dtype(stored)
        found.append(ops.prepare([(ops.array(np.array(values, np.float32)[:, None])).T]).numbers.ravel())
    assert np.array_equal(*(numbers.view(np.uint16) for numbers in found))
    assert widen(found[0])[:4].tolist() == [1, 1 + 2 * place, -1 - place, 0]
