"""scripts/teeth.py: which bugs it plants, that it tells caught ones from survivors, and that its page is up to date."""

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import teeth
import teeth_tests
from teeth_mutants import Mutant, mutants, sample
from teeth_page import Result, page, read_results, write_results

ROOT = Path(__file__).parents[2]
TOY = """\
def largest(numbers: list[int], least: int = 0) -> int:
    found = least
    for number in numbers:
        if number > found and number != 13:
            found = max(number, least)
    return found
"""
TEST = "from toy import largest\n\n\ndef test_largest():\n    assert largest([1, 5, 3], 2) == 5\n"


def mutant(before, after):
    return next(each for each in mutants("toy.py", TOY) if (each.before.strip(), each.after.strip()) == (before, after))


CAUGHT = mutant("if number > found and number != 13:", "if (not (number > found and number != 13)):")
SURVIVES = mutant("if number > found and number != 13:", "if number >= found and number != 13:")


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A tree with one core file and one test."""
    root = tmp_path / "root"
    (root / "docs/results").mkdir(parents=True)
    (root / "toy.py").write_text(TOY)
    (root / "tests").mkdir()
    (root / "tests/test_toy.py").write_text(TEST)
    monkeypatch.setattr(teeth, "stages", lambda path: [["tests/test_toy.py"]])
    return root


@pytest.fixture
def tree(toy, tmp_path):
    return teeth.Tree(toy, tmp_path / "copy")


def test_a_mutant_is_a_change_of_one_line_that_parses():
    found = mutants("toy.py", TOY)
    assert len(found) == len(set(found)) == 10
    for each in found:
        changed = each.planted(TOY)
        differ = [number for number, pair in enumerate(zip(TOY.splitlines(), changed.splitlines(), strict=True), 1)
                  if pair[0] != pair[1]]  # fmt: skip
        assert differ == [each.line] and ast.dump(ast.parse(changed)) != ast.dump(ast.parse(TOY))


@pytest.mark.parametrize(("line", "expected"), [
    ("x = a < b", {"x = a <= b"}),
    ("x = a not in b", {"x = a in b"}),
    ("x = a + b", {"x = a - b"}),
    ("x -= a", {"x += a", "pass"}),
    ("x = not a", {"x = a"}),
    ("x = a and b", {"x = a or b"}),
    ("x = a if b else c", {"x = a if (not (b)) else c"}),
    ("x = 5", {"x = 6", "x = 4"}),
    ("x = True", {"x = False"}),
    ("x = np.float32", {"x = np.float64"}),
    ("x = f(a, b)", {"x = f(b, a)"}),
    ("x = f(a, k=b)", {"x = f(a)"}),
    ("x = a[b:c]", {"x = a[:c]", "x = a[b:]", "x = a[b + 1:c]", "x = a[b:c - 1]"}),
    ("x.y = a", {"pass"}),
    ("f(a)", {"pass"}),
    ("return", {"pass"}),
    ("raise ValueError('a' + b)", {"pass"}),
    ("x: int = a", set()),
    ("x = f'{a + 1}'", set()),
    ("'text'", set()),
    ("import a", set()),
    ("x = 'é' + a < b", {"x = 'é' + a <= b", "x = 'é' - a < b"}),  # places are bytes, and é has two
])  # fmt: skip
def test_what_becomes_of_a_line(line, expected):
    found = mutants("a.py", f"def f():\n    {line}\n    last()\n")
    assert {each.after.strip() for each in found} == expected


def test_what_computes_nothing_is_left_alone():
    source = "import a\n\n@a(1)\ndef f(x: 'a[1]' = b, *, y: a[2] = c) -> a[3]:\n    '''Add 1.'''\n    return x\n"
    assert mutants("a.py", source) == []


def test_a_sample_is_the_same_for_a_seed_and_part_of_a_larger_one(toy):
    small, large, other = sample(toy, ["toy.py"], 1, 5), sample(toy, ["toy.py"], 1, 8), sample(toy, ["toy.py"], 2, 5)
    assert small == sample(toy, ["toy.py"], 1, 5) == large[:5] and len(large) == 8 and set(small) != set(other)


def test_a_line_that_has_changed_is_not_replaced():
    with pytest.raises(ValueError, match=r"toy\.py: expected line 4 to be"):
        CAUGHT.planted(TOY.replace("13", "14"))


def test_a_bug_is_caught_three_times_and_one_that_tests_do_not_see_survives(tree):
    assert teeth.caught_by(tree, CAUGHT) == ("tests/test_toy.py::test_largest",) * 3
    assert teeth.caught_by(tree, SURVIVES) == ("",)
    assert (tree.folder / "toy.py").read_text() == TOY


@pytest.mark.slow
def test_a_test_that_fails_without_a_bug_catches_none(tree):
    (tree.folder / "tests/test_toy.py").write_text("def test_toy():\n    assert False\n")
    with pytest.raises(RuntimeError, match=r"tests/test_toy\.py::test_toy fails without a mutant, too"):
        teeth.caught_by(tree, CAUGHT)


@pytest.mark.slow
def test_a_test_that_takes_long_without_a_bug_catches_none(tree, monkeypatch):
    monkeypatch.setattr(teeth, "SOUND_S", 0.01)
    with pytest.raises(RuntimeError, match=r"test_toy\.py::test_largest fails without a mutant, too: \(hung\)"):
        teeth.caught_by(tree, CAUGHT)


@pytest.mark.slow
def test_a_test_that_fails_in_some_runs_has_not_caught_it_three_times(tree):
    (tree.folder / "tests/test_toy.py").write_text(
        f"import os\n{TEST}".replace("[1, 5, 3]", "[1, 5, 3] if os.environ['PYTHONHASHSEED'] == '1' else [5]").replace(
            "== 5", "== 5 or os.environ['PYTHONHASHSEED'] != '1'"
        )
    )
    assert teeth.caught_by(tree, CAUGHT) == ("tests/test_toy.py::test_largest", "", "")


@pytest.mark.parametrize(("code", "said", "expected"), [
    (0, "1 passed", ""),
    (1, "FAILED tests/a.py::test[x - y] - assert 1 == 2\n", "tests/a.py::test[x"),
    (1, "FAILED tests/a.py::test\n", "tests/a.py::test"),
    (2, "ERROR tests/a.py - NameError: x\n", "tests/a.py"),
    (-11, "", "(crashed)"),
    (4, "ImportError while loading conftest", "(crashed)"),
])  # fmt: skip
def test_what_pytest_says_is_understood(code, said, expected):
    assert teeth.failed_test(code, said) == expected


def test_an_error_of_usage_is_not_a_caught_bug():
    with pytest.raises(RuntimeError, match="code 4"):
        teeth.failed_test(4, "file not found: tests/no.py")


def test_what_was_caught_or_reviewed_is_not_tried_again(monkeypatch):
    monkeypatch.setitem(teeth_tests.SAME, ("toy.py", SURVIVES.before.strip(), SURVIVES.after.strip()), "It is equal.")
    assert teeth.is_open(Result(CAUGHT, (1,))) and teeth.is_open(Result(CAUGHT, (1,), ("a", "", "a")))
    assert not teeth.is_open(Result(CAUGHT, (1,), ("a", "a", "a")))
    assert teeth.is_open(Result(SURVIVES, (1,))) and not teeth.is_open(Result(SURVIVES, (1,), ("",)))


def test_results_are_read_as_they_were_written(tmp_path):
    results = [Result(CAUGHT, (1, 2), ("a", "a", "a")), Result(SURVIVES, (2,), ("",))]
    write_results(tmp_path / "results.jsonl", [*results, Result(Mutant("z.py", 1, "a", "b", "operator"), (1,))])
    assert sorted(read_results(tmp_path / "results.jsonl"), key=results.index) == results


PROGRAM = """\
import sys
from pathlib import Path
import teeth
root = Path(sys.argv.pop(1))
teeth.ROOT, teeth.RESULTS, teeth.PAGE = root, root / "docs/results/teeth.jsonl", root / "docs/results/teeth.md"
teeth.core_files, teeth.stages = lambda root: ["toy.py"], lambda path: [["tests/test_toy.py"]]
teeth.main()
"""


def start(root, *arguments):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'scripts'}", "TMPDIR": str(root.parent)}
    command = [sys.executable, "-c", PROGRAM, str(root), "--seed", "3", "--sample", "1", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_the_command_writes_results_and_the_page(toy):
    out, err = start(toy).communicate(timeout=120)
    assert out.startswith("1 mutant, 1 to try\ntoy.py:") and err == ""
    assert len(read_results(toy / "docs/results/teeth.jsonl")) == 1
    assert "| 3 | 1 |" in (toy / "docs/results/teeth.md").read_text()


@pytest.mark.slow
def test_ctrl_c_ends_the_tests_that_run_and_leaves_no_copy(toy):
    (toy / "tests/test_toy.py").write_text(
        "import os, time\n\n\ndef test_toy():\n    open(os.environ['TMPDIR'] + '/begun', 'w').write(str(os.getpid()))\n"
        "    time.sleep(100)\n"
    )
    running, begun = start(toy), toy.parent / "begun"
    while not (begun.exists() and begun.read_text()):
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    err = running.communicate(timeout=60)[1]
    assert (running.returncode, err) == (1, "stopped; the same command continues\n")
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.read_text()), 0)
    assert {path.name for path in toy.parent.iterdir()} == {"root", "begun"}
    assert read_results(toy / "docs/results/teeth.jsonl") == []


def test_the_page_is_up_to_date():
    assert teeth.PAGE.read_text(encoding="utf-8") == page(read_results(teeth.RESULTS))


def test_everything_that_changes_behaviour_is_caught():
    results = read_results(teeth.RESULTS)
    assert {seed for result in results for seed in result.seeds} == {1, 2}
    assert [result.mutant for result in results if not (result.is_caught or result.reason)] == []


def test_every_reviewed_mutant_is_in_the_results_and_was_not_caught():
    alive = {(result.mutant.path, result.mutant.before.strip(), result.mutant.after.strip())
             for result in read_results(teeth.RESULTS) if not result.is_caught}  # fmt: skip
    assert set(teeth_tests.SAME) <= alive


def test_the_tests_of_every_core_file_exist():
    for path in teeth_tests.core_files(ROOT):
        for stage in teeth_tests.stages(path):
            tests = [each for each in stage if each.startswith("tests/")]
            assert tests and [each for each in tests if not (ROOT / each).exists()] == []
