"""The published hashes of every format of weights are those that the exact backend computes."""

import re
import subprocess

import pytest
from bundled import BUNDLED, FORMAT_HASHES, PUBLISHED_HASHES, ROOT

from minillm.cli.main import run
from minillm.loading.registry import REGISTRY
from minillm.quantization import FORMATS


def test_every_model_has_a_hash_for_each_format():
    assert list(FORMAT_HASHES) == [(model, weights) for model in REGISTRY for weights in FORMATS[1:]]
    all_but_one = len(REGISTRY) * len(FORMATS) - 1
    assert len({*FORMAT_HASHES.values(), *PUBLISHED_HASHES.values()}) == all_but_one
    assert FORMAT_HASHES["smollm2", "int4"] == PUBLISHED_HASHES["smollm2"]  # its file has 4 bits, and 8 for the head


def test_the_table_of_the_readme_has_the_hashes_of_story():
    table = re.findall(r"^  \| (\w+) \| `([0-9a-f]{64})` \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    expected = [PUBLISHED_HASHES["story"], *(FORMAT_HASHES["story", weights] for weights in FORMATS[1:])]
    assert table == list(zip(FORMATS, expected, strict=True))


@pytest.mark.parametrize("model, weights", [key for key in FORMAT_HASHES if key[0] in BUNDLED])
def test_it_is_computed(model, weights, capsys):
    assert run(["exactness", "--model", model, "--weights", weights, "--hash-only"]) == 0
    assert capsys.readouterr().out == FORMAT_HASHES[model, weights] + "\n"


@pytest.mark.parametrize("model", BUNDLED)
def test_as_stored_is_as_in_float32(model, capsys):
    """Their files are float16, which float32 holds."""
    assert run(["exactness", "--model", model, "--weights", "stored", "--hash-only"]) == 0
    assert capsys.readouterr().out == PUBLISHED_HASHES[model] + "\n"


def test_the_check_on_arm_finds_its_hash():
    """The script reads the table with sed."""
    line = next(line for line in (ROOT / "scripts" / "check_arm.sh").read_text().splitlines() if "int4" in line)
    command = f'{line.partition("#")[0]}; echo "$hash"'
    found = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found == FORMAT_HASHES["story-draft", "int4"] + "\n"
