"""Which engines there are, what they are given, and how many threads."""

import os
import sys

import numpy as np
import pytest
from model_folder import TEXT_CONFIG
from random_models import random_model

import minillm
from minillm.backends.threads import VARIABLES, default_threads
from minillm.benchmark import engine_minillm, machine, this_machine
from minillm.benchmark.engine_loop import generate
from minillm.benchmark.engine_minillm import Minillm, beyond_products_s
from minillm.benchmark.engine_process import EngineProcess
from minillm.benchmark.engines import Launch, launch_minillm, launch_peers
from minillm.benchmark.prompt import benchmark_prompt
from minillm.benchmark.startup import startup_seconds
from minillm.loading import open_checkpoint


def silent(step, done, total):
    """Reports nothing."""


@pytest.mark.parametrize("sequences", [1, 3])
def test_our_engine_chooses_what_naive_decoding_chooses(folder, sequences):
    model, prompt = minillm.load(folder), [3, 1, 4, 1, 5]
    answer = generate(Minillm(model), {"prompt": prompt, "new_tokens": 6, "sequences": sequences})
    assert answer["tokens"] == minillm.naive_decode(model, prompt, 7)


def test_all_sequences_of_a_batch_are_the_first(folder):
    engine = Minillm(minillm.load(folder))
    generate(engine, {"prompt": [3, 1, 4, 1, 5], "new_tokens": 6, "sequences": 3})
    first, *others = engine.caches
    assert first.length == 11 and len(others) == 2
    assert all(np.array_equal(first.keys, other.keys) and other.length == 11 for other in others)


def test_our_engine_answers_as_a_process(folder):
    launch = launch_minillm(folder, "plain", "float64")
    with EngineProcess(launch.name, launch.command, 1) as engine:
        run = engine.generate([3, 1, 4], 2)
        assert list(run.tokens) == minillm.naive_decode(minillm.load(folder, "plain", "float64"), [3, 1, 4], 3)
        assert run.peak_memory_bytes > 10_000_000  # Python and NumPy alone
        assert engine.figures({"task": "naive", "prompt": [1], "new_tokens": 2}, "seconds")[0] > 0


def test_a_step_without_layers_to_speak_of_takes_less_beyond_its_products(folder):
    """Time beyond the products is there, and far less than a second."""
    assert 0 < beyond_products_s(minillm.load(folder), [1, 2, 3], 9) < 1


def test_what_a_step_takes_beyond_its_products_is_shared_among_the_layers(monkeypatch):
    """Two layers, and three steps of 7 seconds, of which the products take 1, 2 and 3."""
    times = iter([7.0, 1.0, 7.0, 2.0, 7.0, 3.0])
    monkeypatch.setattr(engine_minillm, "seconds", lambda action: next(times))
    assert beyond_products_s(random_model(TEXT_CONFIG, 0)[0], [1, 2, 3], 3) == 5 / 2


def test_a_matrix_product_is_a_multiplication_and_an_addition_for_each_of_its_terms(monkeypatch):
    monkeypatch.setattr(machine, "seconds", lambda action: 0.5)
    assert machine.matmul_flops_per_s(np.dtype(np.float32)) == 2 * 1536**3 / 0.5


def test_overheads_follow_from_two_depths(monkeypatch):
    """Half a second a layer and 3 a step: 4 beyond the products with 2 layers, 19 with 32."""
    times = iter([10.0, 6.0, 100.0, 81.0])
    monkeypatch.setattr(this_machine, "load", lambda name: random_model(TEXT_CONFIG, 0)[0])
    monkeypatch.setattr(this_machine, "_least_s", lambda action: next(times))
    assert this_machine.overheads_s() == (0.5, 3.0)


def test_the_machine_says_its_limits():
    with EngineProcess("machine", [sys.executable, "-m", "minillm.benchmark.machine", "float64"], 1) as machine:
        assert all(1e6 < limit < 1e16 for limit in machine.figures({}, "bandwidth", "matmul"))


def test_startup_is_import_and_load(folder):
    import_s, load_s = startup_seconds(launch_minillm(folder, "numpy", "float32"), 1)
    assert 0 < import_s < 60 and 0 < load_s < 60
    own_clock = Launch("clock", (), "begun, now = 1.0, iter([3.0, 7.0]).__next__", "print('noise')")
    assert startup_seconds(own_clock, 1) == (2.0, 4.0)


def test_a_startup_that_fails_is_one_line():
    with pytest.raises(ValueError, match=r"^broken failed to load: ZeroDivisionError: division by zero$"):
        startup_seconds(Launch("broken", (), "import minillm", "1 / 0"), 1)


@pytest.mark.parametrize("name", ["transformers", "llama.cpp"])
def test_a_missing_peer_says_what_to_install(name, folder, monkeypatch):
    for library in ("transformers", "llama_cpp"):
        monkeypatch.setitem(sys.modules, library, None)  # how Python says that there is none
    with (
        pytest.raises(ValueError, match=r'pip install -e ".*\[bench\]"'),
        launch_peers([name], folder, 1, silent),
    ):
        pass


def test_an_unknown_peer_is_one_line(folder):
    with pytest.raises(ValueError, match=r"no engine 'vllm'.*transformers, llama\.cpp"):
        launch_peers(["vllm"], folder, 1, silent).__enter__()


def test_the_files_made_for_peers_are_gone_afterwards(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "llama_cpp", pytest)  # anything that is found
    with launch_peers(["llama.cpp"], folder, 2, silent) as [launch]:
        path = launch.command[3]
        assert open_checkpoint(path).config.hidden_size == open_checkpoint(folder).config.hidden_size
    assert not os.path.exists(path) and not os.path.exists(os.path.dirname(path))


def test_the_prompt_is_text_as_long_as_wanted(folder):
    checkpoint = open_checkpoint(folder)
    long = benchmark_prompt(checkpoint, 3000)
    assert len(long) == 3000 and benchmark_prompt(checkpoint, 5) == long[:5]
    assert checkpoint.tokenizer.decode(long[:60]).startswith("A language model reads")


def test_the_prompt_of_a_model_without_tokenizer(folder, tmp_path):
    for name in ("config.json", "model.safetensors"):
        os.link(f"{folder}/{name}", tmp_path / name)
    checkpoint = open_checkpoint(tmp_path)
    ids, size = benchmark_prompt(checkpoint, 600), checkpoint.config.vocab_size
    assert len(ids) == 600 and set(ids) == set(range(size))


def test_threads_are_what_the_environment_says(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert default_threads() >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert default_threads() == 7
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "5")
    assert default_threads() == 5
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "many")
    assert default_threads() == 7
