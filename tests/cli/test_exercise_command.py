"""A learner's way through `minillm exercise`, and what goes wrong on it."""

import errno
import json
import os
import re
import resource
import select
import shlex
import shutil
import signal
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from exercise_files import solve, write_body

from minillm.classroom.exercises.bughunt import all_bugs, find_bug, note_found, place_of
from minillm.classroom.exercises.exercise import all_exercises, find_exercise
from minillm.classroom.exercises.watch import saved_exercises
from minillm.classroom.exercises.workspace import Workspace

ALL = len(all_exercises())
BROKEN = "return np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)"


@pytest.fixture
def folder(tmp_path, call):
    assert call("exercise", "start", tmp_path / "work").code == 0
    return tmp_path / "work"


def keep(folder, *names):
    """Remove the files of all other exercises: each that is checked takes a process."""
    for exercise in all_exercises():
        if exercise.name not in names:
            (folder / f"{exercise.label}.py").unlink()


def test_the_way_through(call, folder):
    at = ("--dir", folder)
    result = call("exercise", "check", 3, *at)
    assert (result.code, result.out.splitlines()[0]) == (1, "03_softmax: not started yet")
    write_body(folder, "softmax", BROKEN)
    result = call("exercise", "check", "softmax", *at)
    assert (result.code, result.err) == (1, "")
    order = ["failed at case 2 of 9", "first differs at [0]: got nan", "yours", "Property violated: Each row",
             "scores = [ 1000.", "Likely cause: exp of a large score overflows", "exercise hint 3"]  # fmt: skip
    places = [" ".join(result.out.split()).index(text) for text in order]
    assert places == sorted(places)
    assert call("exercise", "solution", 3, *at).code == 2
    solve(folder, "softmax")
    assert call("exercise", "check", 3, *at).out.startswith("03_softmax: passed, 9 cases\n")
    assert call("exercise", "solution", 3, *at).out == find_exercise("softmax").solution
    status = json.loads(call("exercise", "status", *at, "--json").out)
    assert status["passed"] == 1
    expected = {"exercise": "03_softmax", "lesson": 3, "passed": True, "attempts": 2, "hints": 0, "gave_up": False}
    assert status["exercises"][2] == expected
    write_body(folder, "softmax", BROKEN)
    call("exercise", "check", 3, *at)
    assert json.loads(call("exercise", "status", *at, "--json").out)["passed"] == 0


def test_all_at_once(call, folder):
    solve(folder, "softmax")
    found = json.loads(call("exercise", "check", "--dir", folder, "--json").out)["exercises"]
    assert [one["exercise"] for one in found] == [exercise.label for exercise in all_exercises()]
    assert [one["exercise"] for one in found if one["passed"]] == ["03_softmax"]
    keep(folder, "softmax", "rope")
    result = call("exercise", "check", "--dir", folder)
    assert (result.code, result.out.splitlines()[-1]) == (1, f"1 of {ALL} passed")


def test_code_that_cannot_be_locked_in_is_said(call, folder, monkeypatch):
    monkeypatch.setattr("minillm.classroom.worker.start.MAPS", folder / "nothing")  # as without /proc
    keep(folder, "naive_decode")
    result = call("exercise", "check", "--dir", folder)
    assert result.err == "minillm: this system cannot lock the code in; check only files that you trust\n"


def test_only_the_first_failure_is_told_in_full(call, folder):
    write_body(folder, "softmax", BROKEN)
    write_body(folder, "rope", "return x[:, 0]")
    keep(folder, "naive_decode", "loss_gradient", "softmax", "rope")
    out = call("exercise", "check", "--dir", folder).out
    assert (out.count("Likely cause"), out.count("failed at case")) == (1, 2)


@pytest.mark.parametrize("harm", ["np.exp = np.dot = None", "import sys\nsys.stdout.close()"])
def test_what_one_file_does_to_numpy_or_python_does_not_reach_the_next(call, folder, harm):
    file = folder / "01_naive_decode.py"
    file.write_text(f"{file.read_text()}\n{harm}\n")
    keep(folder, "naive_decode", "softmax")
    solve(folder, "softmax")
    assert "03_softmax: passed, 9 cases\n" in call("exercise", "check", "--dir", folder).out


def test_hints_come_one_by_one(call, folder):
    shown = [call("exercise", "hint", 5, "--dir", folder).out for _ in range(5)]
    assert [text.count("05_causal_mask, hint") for text in shown] == [1, 2, 3, 4, 4]
    assert find_exercise("5").hints[3] in shown[-1]


def test_reset_keeps_what_was_written(call, folder):
    for number in (1, 2):
        write_body(folder, "softmax", f"return {number}")
        assert call("exercise", "reset", 3, "--dir", folder).code == 0
        assert f"return {number}" in (folder / f"03_softmax.py.{number}.bak").read_text()
    assert (folder / "03_softmax.py").read_text() == find_exercise("softmax").stub
    (folder / "03_softmax.py").unlink()
    assert "your file" not in call("exercise", "reset", 3, "--dir", folder).out


def test_giving_up_shows_the_solution_and_is_noted(call, folder):
    assert call("exercise", "solution", 3, "--give-up", "--dir", folder).code == 0
    assert "gave up" in call("exercise", "status", "--dir", folder).out
    assert "started, gave up" not in call("exercise", "status", "--dir", folder).out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "99"], f"there is no exercise '99'; expected a number from 1 to {ALL}, or a name"),
        (["check", "../../x"], "there is no exercise"),
        (
            ["check", "--dir", "nowhere"],
            "nowhere: no exercises here; begin with `minillm exercise start DIR`, or pass --dir",
        ),
        (["start", "."], "expected a new folder"),
        (["start", "a/b/c"], "there is no folder"),
        (["start", "/proc/new"], "minillm: /proc/new: No such file or directory"),
        (["hint"], "the following arguments are required: N"),
        ([], "the following arguments are required: ACTION"),
        (["cheat"], "invalid choice: 'cheat'"),
        (["check", "4"], "04_rope.py is missing; `minillm exercise reset 4` writes it"),
        (["check", "5"], "05_causal_mask.py: expected text in UTF-8"),
    ],
)
def test_wrong_use_is_one_line(call, folder, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    (folder / "04_rope.py").unlink()
    (folder / "05_causal_mask.py").write_bytes(b"\xff")
    result = call("exercise", *arguments)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert message in result.err


def test_status_cuts_no_name_on_a_narrow_terminal(call, folder, monkeypatch):
    for columns, headings in (
        ("80", ["exercise", "state", "lesson", "attempts", "hints"]),
        ("40", ["exercise", "state"]),
    ):
        monkeypatch.setenv("COLUMNS", columns)
        lines = call("exercise", "status", "--dir", folder).out.splitlines()
        assert lines[0].split() == headings and max(map(len, lines)) <= int(columns)
        assert [line.split()[:3] for line in lines[1:-1]] == [[e.label, "not", "started"] for e in all_exercises()]
    monkeypatch.setenv("COLUMNS", "20")
    assert "…" not in call("exercise", "status", "--dir", folder).out


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"softmax": 3}', '{"softmax": {"hints": -1}}', "[" * 100_000])
def test_a_damaged_note_is_taken_from_its_copy(call, folder, damage):
    call("exercise", "hint", 3, "--dir", folder)
    call("exercise", "hint", 3, "--dir", folder)
    (folder / ".minillm" / "exercises.json").write_text(damage)
    assert json.loads(call("exercise", "status", "--dir", folder, "--json").out)["exercises"][2]["hints"] == 1
    assert call("exercise", "hint", 3, "--dir", folder).out.count("hint") == 2
    for name in ("exercises.json", "exercises.bak"):
        (folder / ".minillm" / name).write_text(damage)
    state = folder / ".minillm" / "exercises.json"
    said = f"minillm: {state} is damaged: no progress is known; it will be kept as exercises.json.N.bak\n"
    for action, code in ((["status"], 0), (["check", 3], 1)):
        result = call("exercise", *action, "--dir", folder)
        assert (result.code, result.err) == (code, said)
    assert damage in [path.read_text() for path in state.parent.glob("exercises.json.*.bak")]
    assert call("exercise", "status", "--dir", folder).err == ""


def test_a_folder_with_hunts_only_has_a_status(call, tmp_path):
    assert call("exercise", "status", "--dir", tmp_path).code == 2
    call("exercise", "bughunt", 2, "--dir", tmp_path)
    assert call("exercise", "status", "--dir", tmp_path).out == f"0 of {len(all_bugs())} bugs found\n"
    found = json.loads(call("exercise", "status", "--dir", tmp_path, "--json").out)
    assert (found["exercises"], found["bugs_found"]) == ([], [])


def test_a_missing_file_names_the_command_with_its_folder(call, folder):
    (folder / "04_rope.py").unlink()
    result = call("exercise", "check", 4, "--dir", folder)
    assert (result.code, f"`minillm exercise reset 4 --dir {folder}` writes it again" in result.err) == (2, True)


def test_damaged_hunts_count_as_none(call, folder):
    state = folder / ".minillm" / "hunts.json"
    state.write_text('{"found": 3}')
    for action in (["bughunt"], ["status"]):
        result = call("exercise", *action, "--dir", folder)
        assert (result.code, result.err.count("\n"), "hunts.json is damaged" in result.err) == (0, 1, True)
    place = ":".join(map(str, place_of(find_bug(1))))
    assert "1 of 24 bugs found" in call("exercise", "bughunt", "1", "--answer", place, "--dir", folder).out
    assert state.with_name("hunts.json.1.bak").read_text() == '{"found": 3}'


def test_where_progress_cannot_be_written_one_line_says_so_and_the_answer_is_given(call, folder):
    """A folder in the file's place cannot be written even by the superuser."""
    state = folder / ".minillm" / "exercises.json"
    state.rename(state.with_suffix(".bak"))
    state.mkdir()
    keep(folder, "softmax", "rope")
    said = f"minillm: progress is not saved: {state}: Is a directory\n"
    solve(folder, "softmax")
    for arguments, code, shown in (
        (["check", 3], 0, "03_softmax: passed"),
        (["check"], 1, f"1 of {len(all_exercises())} passed"),
        (["hint", 3], 0, "hint 1 of 4"),
        (["solution", 3, "--give-up"], 0, "def softmax"),
    ):
        result = call("exercise", *arguments, "--dir", folder)
        assert (result.code, result.err, shown in result.out) == (code, said, True), result


def test_files_of_any_editor_are_read(call, folder):
    file = folder / "03_softmax.py"
    file.write_bytes(b"\xef\xbb\xbf" + find_exercise("softmax").solution.replace("\n", "\r\n").encode())
    assert call("exercise", "check", 3, "--dir", folder).code == 0


def test_nothing_of_the_learners_code_steers_the_terminal(call, folder):
    write_body(folder, "softmax", "print('\\x1b[2J'); raise ValueError('\\x1b]0;owned\\x07')")
    out = call("exercise", "check", 3, "--dir", folder).out
    assert "\\x1b" in out
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", out)


def test_reports_fit_eighty_columns(call, folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    write_body(folder, "attention", "return q * 2")
    write_body(folder, "softmax", BROKEN)
    keep(folder, "attention", "softmax", "kv_cache_truncate")
    shown = call("exercise", "check", "--dir", folder).out + call("exercise", "status", "--dir", folder).out
    assert max(map(len, shown.splitlines())) <= 80


def read_until(child, text):
    """What it writes, up to this text."""
    seen = b""
    while text.encode() not in seen:
        assert select.select([child.stdout], [], [], 30)[0], seen
        piece = os.read(child.stdout.fileno(), 65536)
        assert piece, seen
        seen += piece
    return seen.decode()


def test_watch_checks_what_is_saved_and_ends_quietly(spawn, folder):
    child = spawn("exercise", "watch", "--dir", folder)
    assert f"[0/{ALL}] next: 01_naive_decode.py" in read_until(child, "next")
    write_body(folder, "softmax", BROKEN)
    assert "failed at case 2 of 9" in read_until(child, "next")
    solve(folder, "softmax")
    assert "03_softmax: passed" in read_until(child, f"[1/{ALL}]")
    (folder / "03_softmax.py").write_bytes(b"\xff")
    assert "expected text in UTF-8" in read_until(child, "next")
    child.send_signal(signal.SIGINT)
    assert (child.wait(30), child.stderr.read()) == (130, b"\n")


def test_what_is_saved_at_once_is_seen(folder, monkeypatch):
    """A file that is saved between the first look and the next one is seen."""

    def give_up(seconds):
        raise AssertionError("nothing was seen")

    saved = saved_exercises(Workspace(folder))
    solve(folder, "softmax")
    monkeypatch.setattr("minillm.classroom.exercises.watch.time.sleep", give_up)
    assert next(saved).name == "softmax"


def test_the_bug_hunt_in_the_estimates(call, tmp_path):
    number = len(all_bugs())
    result = call("exercise", "bughunt", number, "--dir", tmp_path)
    assert (result.code, "is a small estimate with one bug" in result.out) == (0, True)
    assert f"python -m doctest {tmp_path / f'hunt_{number}.py'}" in " ".join(result.out.split())
    function, line = place_of(find_bug(number))
    assert call("exercise", "bughunt", number, "--answer", f"{function}:{line}", "--dir", tmp_path).code == 0
    assert json.loads(call("exercise", "bughunt", number, "--dir", tmp_path, "--json").out)["kind"] == "estimates"


def test_the_bug_hunt(call, tmp_path):
    result = call("exercise", "bughunt", 5, "--dir", tmp_path)
    assert (result.code, (tmp_path / "hunt_5.py").exists()) == (0, True)
    assert "pytest --minillm-engine" in result.out and result.out.startswith(f"Bug 5 of {len(all_bugs())}: ")
    function, line = place_of(find_bug(5))
    at = ("--dir", tmp_path)
    assert call("exercise", "bughunt", 5, "--answer", f"{function}:{line + 2}", *at).code == 1
    result = call("exercise", "bughunt", 5, "--answer", f"{function}:{line}", *at)
    assert (result.code, find_bug(5).meaning in result.out) == (0, True)
    for wrong in (["99"], ["x"], ["1", "--answer", "attend"], ["1", "--answer", ""], ["1", "--dir", tmp_path / "no"],
                  ["5", "--answer", f"{function}:{line}", "--dir", tmp_path / "no"]):  # fmt: skip
        result = call("exercise", "bughunt", *wrong)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert not (tmp_path / "no").exists()


def test_what_is_found_is_kept_and_the_next_bug_comes(call, folder):
    at, number = ("--dir", folder), len(all_bugs())
    answers = [":".join(map(str, place_of(find_bug(n)))) for n in range(1, number + 1)]
    assert call("exercise", "bughunt", *at).out.startswith(f"Bug 1 of {number}: {folder}/hunt_1.py is a small engine")
    assert "Bug 1: Wrong function" in call("exercise", "bughunt", "--answer", "nothing:1", *at).out
    assert "1 of 24 bugs found. The next: minillm" in call("exercise", "bughunt", "--answer", answers[0], *at).out
    assert "2 of 24 bugs found" in call("exercise", "bughunt", 3, "--answer", answers[2], *at).out
    assert "2 of 24 bugs found" in call("exercise", "bughunt", 3, "--answer", answers[2], *at).out
    assert json.loads(call("exercise", "bughunt", *at, "--json").out)["hunt"] == 2
    assert call("exercise", "status", *at).out.endswith(f"0 of {ALL} passed, 2 of {number} bugs found\n")
    assert json.loads(call("exercise", "status", *at, "--json").out)["bugs_found"] == [1, 3]
    for n in range(2, number + 1):
        note_found(folder, n)
    result = call("exercise", "bughunt", *at)
    assert (result.code, "All 24 bugs are found." in result.out) == (0, True)
    assert json.loads(call("exercise", "bughunt", *at, "--json").out)["hunt"] is None
    assert call("exercise", "bughunt", 7, *at).out.startswith("Bug 7 of 24")


def test_a_command_that_is_shown_can_be_copied(call, tmp_path):
    """It names the folder, also one with a space in its name."""
    folder = tmp_path / "two words"
    call("exercise", "start", folder)
    shown = [
        call("exercise", "bughunt", "--dir", folder).out,
        call("exercise", "bughunt", "--answer", ":".join(map(str, place_of(find_bug(1)))), "--dir", folder).out,
        call("exercise", "check", 3, "--dir", folder).out,
    ]
    solve(folder, "softmax")
    shown.append(call("exercise", "check", 3, "--dir", folder).out)
    commands = [line.partition("minillm ")[2] for text in shown for line in text.splitlines() if "minillm exer" in line]
    assert [shlex.split(command)[1] for command in commands] == ["bughunt", "bughunt", "hint", "solution"]
    for command in commands:
        arguments = shlex.split(command.replace("FUNCTION:LINE", "attend:1"))
        assert call(*arguments).code in (0, 1)


def test_a_found_bug_that_cannot_be_stored_is_judged_all_the_same(call, folder):
    (folder / ".minillm" / "hunts.lock").mkdir()
    place = ":".join(map(str, place_of(find_bug(1))))
    result = call("exercise", "bughunt", 1, "--answer", place, "--dir", folder)
    assert (result.code, result.out.startswith("Bug 1: Found")) == (0, True)
    assert result.err == f"minillm: progress is not saved: {folder}/.minillm/hunts.json: Is a directory\n"


def test_files_without_the_hidden_folder_are_a_workspace(call, folder, tmp_path):
    """As collected from learners: all of them or a few, in a new folder."""
    solve(folder, "softmax")
    collected = tmp_path / "two words"
    collected.mkdir()
    for name in ("03_softmax.py", "05_causal_mask.py"):
        shutil.copy(folder / name, collected)
    result = call("exercise", "check", "--dir", collected)
    assert (result.code, result.err, result.out.splitlines()[-1]) == (1, "", f"1 of {ALL} passed")
    for line in ("01_naive_decode: there is no file", "03_softmax: passed, 9 cases", "05_causal_mask: not started yet"):
        assert line in result.out
    assert json.loads(call("exercise", "status", "--dir", collected, "--json").out)["passed"] == 1
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.py").write_text("")
    assert call("exercise", "check", "--dir", tmp_path / "empty").code == 2


def test_a_file_that_cannot_be_read_does_not_stop_the_check_of_the_others(call, folder):
    keep(folder, "softmax")
    (folder / "01_naive_decode.py").write_bytes(b"\xff")
    os.mkfifo(folder / "02_loss_gradient.py")
    (folder / "04_rope.py").symlink_to("/dev/zero")
    (folder / "05_causal_mask.py").write_bytes(b" " * 1_000_001)
    solve(folder, "softmax")
    result = call("exercise", "check", "--dir", folder)
    assert (result.code, result.err, result.out.splitlines()[-1]) == (1, "", f"1 of {ALL} passed")
    assert "01_naive_decode: failed: the file cannot be read" in result.out and "expected text in UTF-8" in result.out
    for name in ("02_loss_gradient", "04_rope", "05_causal_mask"):
        assert f"{name}: failed: the file cannot be read" in result.out
        assert call("exercise", "check", name[3:], "--dir", folder).code == 2


def test_no_hint_of_several_commands_at_once_is_lost(folder):
    """Each counts one hint of each exercise, at the same time."""
    exercises, counted = all_exercises()[:6], []

    def count():
        for exercise in exercises:
            one_more = lambda own: replace(own, hints=own.hints + 1)  # noqa: E731
            counted.append(Workspace(folder).note(exercise, one_more).hints)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [Workspace(folder).progress(exercise).hints for exercise in exercises] == [4] * 6
    assert sorted(counted) == [1] * 6 + [2] * 6 + [3] * 6 + [4] * 6


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)], ids=["pipe", "device"])
def test_progress_that_is_no_ordinary_file_is_one_line(call, folder, make):
    state = folder / ".minillm" / "exercises.json"
    call("exercise", "hint", 3, "--dir", folder)
    call("exercise", "hint", 3, "--dir", folder)
    state.unlink()
    make(state)
    assert json.loads(call("exercise", "status", "--dir", folder, "--json").out)["exercises"][2]["hints"] == 1
    state.with_suffix(".bak").unlink()
    result = call("exercise", "hint", 3, "--dir", folder)
    assert (result.code, "hint 1 of 4" in result.out, result.err.count("\n")) == (0, True, 1)
    assert "is damaged: no progress is known" in result.err


@contextmanager
def full_disk():
    """Nothing can be written to a file, also not by pytest: a limit of 0 bytes stands in for a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def written(folder):
    write_body(folder, "softmax", "return mine")
    return folder


def test_reset_on_a_full_disk_changes_nothing(written):
    """The stub is written before the learner's file is moved."""
    workspace = Workspace(written)
    with full_disk(), pytest.raises(OSError, match=r"03_softmax\.py"):
        workspace.reset(find_exercise("softmax"))
    assert "return mine" in (written / "03_softmax.py").read_text()
    assert not list(written.glob("*.bak")) and not list(written.glob(".03*"))


@pytest.mark.parametrize("links", [True, False])
def test_a_reset_that_fails_at_its_last_step_puts_the_file_back(call, written, monkeypatch, links):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if not links:
        monkeypatch.setattr(os, "link", fail)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", lambda self, to: fail() if self.name[0] == "." else os.replace(self, to))
        result = call("exercise", "reset", 3, "--dir", written)
    assert (result.code, result.err) == (2, f"minillm: {written}/03_softmax.py: No space left on device\n")
    assert "return mine" in (written / "03_softmax.py").read_text()
    assert call("exercise", "reset", 3, "--dir", written).code == 0
    backups = sorted(written.glob("03_softmax.py.*.bak"))
    assert backups and all("return mine" in backup.read_text() for backup in backups)
    assert (written / "03_softmax.py").read_text() == find_exercise("softmax").stub


def test_two_resets_at_once_keep_what_was_written(written, monkeypatch):
    """The other one took the first name after this one had looked."""
    real = os.link

    def late(file, backup):
        if str(backup).endswith(".1.bak"):
            backup.write_text("of the other")
        real(file, backup)

    monkeypatch.setattr(os, "link", late)
    assert Workspace(written).reset(find_exercise("softmax")).name == "03_softmax.py.2.bak"
    assert "return mine" in (written / "03_softmax.py.2.bak").read_text()


def test_rows_divided_by_the_sums_of_columns_are_told_as_that(call, folder):
    write_body(
        folder, "softmax", "e = np.exp(scores - scores.max(-1, keepdims=True))\n    return e / e.sum(0, keepdims=True)"
    )
    words = " ".join(call("exercise", "check", 3, "--dir", folder).out.split())
    assert "sum is that of each column" in words and "transposed" not in words


def test_generate_names_no_option_that_it_does_not_have(call, tmp_path):
    result = call("generate", "hi", "--with", tmp_path / "nowhere")
    expected = f"minillm: {tmp_path}/nowhere: no exercises here; begin with `minillm exercise start DIR`\n"
    assert (result.code, result.err) == (2, expected)


def test_generate_with_the_learners_functions(call, folder):
    """Right ones give the same text; a wrong one shows; what is not passed is not used."""
    prompt = ("generate", "Once upon a time", "--model", "story-draft", "--max-new-tokens", 8, "--json")
    at = ("--dir", folder)
    result = call(*prompt, "--with", folder)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "nothing to plug in; pass at least one of the exercises softmax, rope, causal_mask, attention" in result.err
    for name in ("softmax", "rope", "causal_mask", "attention"):
        solve(folder, name)
        assert call("exercise", "check", name, *at).code == 0
    expected = json.loads(call(*prompt, "--backend", "plain").out)["tokens"]
    result = call(*prompt, "--with", folder)
    assert (
        result.err
        == "Running your functions in this process, on the plain backend: softmax, rope, causal_mask, attention\n"
    )
    assert json.loads(result.out)["tokens"] == expected
    write_body(folder, "attention", "return q * 0")
    assert json.loads(call(*prompt, "--with", folder).out)["tokens"] != expected
    write_body(folder, "attention", "return 1 / 0")
    result = call(*prompt, "--with", folder)
    assert (result.code, result.err.splitlines()[1:]) == (
        2, ["minillm: 06_attention.py: ZeroDivisionError: division by zero"]
    )  # fmt: skip
    file = folder / "06_attention.py"
    for ending in (f"raise SystemExit(0)\n{file.read_text()}", file.read_text().replace("return 1 / 0", "exit(0)")):
        file.write_text(ending)
        result = call(*prompt, "--with", folder)
        assert (result.code, "SystemExit: 0" in result.err) == (2, True)
    call("exercise", "check", "attention", *at)
    assert json.loads(call(*prompt, "--with", folder).out)["tokens"] == expected  # it is ours again


def test_the_line_of_an_exception_is_told(call, folder):
    write_body(folder, "softmax", "return 1 / 0")
    line = (folder / "03_softmax.py").read_text().splitlines().index("    return 1 / 0") + 1
    out = " ".join(call("exercise", "check", 3, "--dir", folder).out.split())
    assert f"ZeroDivisionError: division by zero (line {line} of your file)" in out
    write_body(folder, "softmax", BROKEN)
    assert "of your file" not in call("exercise", "check", 3, "--dir", folder).out


def test_what_is_reset_is_not_passed_any_more(call, folder):
    """What it took stays known."""
    solve(folder, "softmax")
    call("exercise", "hint", 3, "--dir", folder)
    assert call("exercise", "check", 3, "--dir", folder).code == 0
    call("exercise", "reset", 3, "--dir", folder)
    found = json.loads(call("exercise", "status", "--dir", folder, "--json").out)
    assert (found["passed"], found["exercises"][2]["passed"]) == (0, False)
    assert (found["exercises"][2]["attempts"], found["exercises"][2]["hints"]) == (1, 1)
    lines = call("exercise", "status", "--dir", folder).out.splitlines()
    assert next(line.split() for line in lines if "softmax" in line)[1:3] == ["not", "started"]
    assert call("exercise", "solution", 3, "--dir", folder).code == 2


def test_watch_sees_a_save_of_equal_size_within_the_same_second(folder, monkeypatch):
    class NothingNew(Exception):
        pass

    def look_again(seconds):
        raise NothingNew

    monkeypatch.setattr("minillm.classroom.exercises.watch.time.sleep", look_again)
    file, second = folder / "03_softmax.py", 1_700_000_000 * 10**9
    os.utime(file, ns=(second, second))
    saved = saved_exercises(Workspace(folder))
    os.utime(file, ns=(second, second + 1_000_000))
    assert next(saved).name == "softmax"
    with pytest.raises(NothingNew):
        next(saved)
