"""The bug hunt: one bug in an engine or in estimates, its function and its line."""

import io
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import replace

import pytest

from minillm.classroom.exercises import bughunt
from minillm.classroom.exercises.exercise import run_source
from minillm.estimate import cost, memory, parameters, queueing, serving, speculation
from minillm.estimate.hardware import find_gpu
from minillm.estimate.models import find_model

ESTIMATE_BUGS = [n for n, bug in enumerate(bughunt.all_bugs(), start=1) if bug.kind == "estimates"]


@pytest.mark.parametrize("number", range(1, len(bughunt.all_bugs()) + 1))
def test_a_bug_is_one_line_in_the_function_it_names(number):
    bug = bughunt.find_bug(number)
    right, wrong = bughunt.right_text(bug.kind).splitlines(), bughunt.planted(bug).splitlines()
    changed = [n for n, pair in enumerate(zip(right, wrong, strict=True), start=1) if pair[0] != pair[1]]
    function, line = bughunt.place_of(bug)
    assert changed == [line]
    above = [text for text in wrong[:line] if text.lstrip().startswith("def ")]
    assert above[-1].lstrip().startswith(f"def {function}(")


def test_answers():
    function, line = bughunt.place_of(bughunt.find_bug(1))
    found, text = bughunt.answer(1, f"{function}:{line}")
    assert found
    assert bughunt.find_bug(1).right in text
    assert bughunt.answer(1, f"{function}:{line + 1}") == (False, "Right function, wrong line.")
    assert bughunt.answer(1, "batch:3")[1].startswith("Wrong function and wrong line.")


def test_an_engine_that_was_written_stays_as_it_is(tmp_path):
    file = bughunt.hunt_file(tmp_path, 2)
    assert file.read_text() == bughunt.planted(bughunt.find_bug(2))
    file.write_text("mended")
    bughunt.hunt_file(tmp_path, 2)
    assert file.read_text() == "mended"


def doctest(file):
    done = subprocess.run([sys.executable, "-m", "doctest", file.name], cwd=file.parent, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def right_report():
    """What the estimates print without a bug."""
    return report(bughunt.right_text("estimates"))


def report(text):
    estimates, out = run_source(text, "estimates.py"), io.StringIO()
    with redirect_stdout(out):
        estimates["report"](estimates["LLAMA_2_70B"], gpu=estimates["A100"], gpus=4, prompt=4000, output=100)
    return out.getvalue()


def test_the_right_figures_are_those_of_minillm_estimate(right_report):
    """No figure of the docstring is one that only its own file believes in."""
    links_for_nothing = replace(find_gpu("a100"), link_bytes_per_s=float("inf"))  # the small estimate has no links
    four = serving.Serving(find_model("llama-2-70b"), links_for_nothing, gpus=4)
    batch = serving.most_sequences(four, 4099)
    alone, many = (
        serving.prefill_time(four, 4000, n).seconds + serving.decode_all_s(four, 4000, 100, n) for n in (1, batch)
    )
    expected = [
        parameters.parameters(four.config) / 1e9, 2 * parameters.matrix_parameters(four.config) / 1e9,
        memory.cache_bytes_per_token(four.config) / 1e3, batch,
        1e3 * serving.prefill_time(four, 4000).seconds,
        *(1e3 * serving.decode_time(four, 4051, n).seconds for n in (1, batch)), alone, many,
        cost.dollars_per_million_tokens(4 * 1.19, batch * 100 / many), queueing.md1_wait_s(0.5 / alone, alone),
        speculation.tokens_per_round(0.8, 4),
    ]  # fmt: skip
    figures = [float(line[33:41]) for line in right_report.splitlines()]
    assert figures == pytest.approx(expected, abs=5.1e-5)


def test_the_docstring_has_the_right_figures(tmp_path):
    file = tmp_path / "estimates.py"
    file.write_text(bughunt.right_text("estimates"))
    assert doctest(file) == (0, "")


def test_a_hunt_in_the_estimates_shows_what_is_wrong(tmp_path):
    number = ESTIMATE_BUGS[-1]
    code, out = doctest(bughunt.hunt_file(tmp_path, number))
    assert (code, "Expected:" in out, "Got:" in out) == (1, True, True)


@pytest.mark.parametrize("number", ESTIMATE_BUGS)
def test_every_bug_in_the_estimates_shows_in_the_figures(number, right_report):
    assert report(bughunt.planted(bughunt.find_bug(number))) != right_report


def test_no_two_bugs_look_alike():
    texts = [report(bughunt.planted(bughunt.find_bug(number))) for number in ESTIMATE_BUGS]
    assert len(set(texts)) == len(texts)
