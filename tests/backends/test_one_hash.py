"""One hash everywhere: for any number of threads, any kernels of the matrix library and any instructions of NumPy.

Each setting has a process of its own, since libraries read them when they start. ARM is in scripts/check_arm.sh.
"""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from bundled import BUNDLED, PUBLISHED_HASHES, ROOT
from golden_model import GOLDEN_HASH

from minillm.loading.registry import REGISTRY

# What NumPy uses of this processor beyond the least that it needs; AVX-512 is X86_V4 or, in older releases, AVX512_SKX.
FOUND = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
KERNELS = ["Nehalem", "Sandybridge", "Haswell", "Zen"] + ["SkylakeX"] * bool({"X86_V4", "AVX512_SKX"} & set(FOUND))
SETTINGS = [{"OPENBLAS_NUM_THREADS": "1"}, {"OPENBLAS_NUM_THREADS": "2"}]
SETTINGS += [{"OPENBLAS_CORETYPE": kernel} for kernel in KERNELS]
SETTINGS += [{"NPY_DISABLE_CPU_FEATURES": " ".join(FOUND[n:])} for n in range(len(FOUND))]
HASHES = {"golden": GOLDEN_HASH, **{name: PUBLISHED_HASHES.get(name) for name in BUNDLED}}


ALL_HASHES = """
import sys
from golden_model import golden_hash
from minillm.cli.main import run
print(golden_hash())
sys.exit(any(run(["exactness", "--hash-only", "--model", name]) for name in sys.argv[1:]))
"""


def printed(setting, *program):
    """What a new process with this setting prints, by words."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", **setting}
    command = [sys.executable, *program]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: "-".join(*setting.items()).replace(" ", "-"))
def test_one_hash(setting):
    assert dict(zip(HASHES, printed(setting, "-c", ALL_HASHES, *BUNDLED), strict=True)) == HASHES


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the kernels are those of x86 processors")
def test_an_ordinary_backend_has_a_hash_for_each_kernel():
    program = ("tests/golden_model.py", "plain")
    hashes = {tuple(printed({"OPENBLAS_CORETYPE": kernel}, *program)) for kernel in KERNELS}
    assert len(hashes) > 1


def test_every_bundled_model_can_be_loaded_by_name_and_has_its_hash_published():
    assert set(BUNDLED) <= REGISTRY.keys()
    assert set(BUNDLED) <= PUBLISHED_HASHES.keys()
